#include "text/jinja/interpreter.h"

#include "text/jinja/attributes.h"
#include "text/jinja/functions.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"

// Statements and calls; expressions stand in evaluate.cpp.
namespace tandem::jinja {

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope; scope = scope->parent.get()) {
    const auto found = scope->names.find(name);
    if (found != scope->names.end()) return &found->second;
  }
  return nullptr;
}

// Counts the interpreter's recursion over statements, expressions and macros.
class Interpreter::Depth {
 public:
  explicit Depth(int& depth) : depth_(depth) { ++depth_; }
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  int& depth_;
};

namespace {

std::shared_ptr<Scope> inside(const std::shared_ptr<Scope>& parent) {
  return std::make_shared<Scope>(Scope{parent, {}});
}

Error at_line(Error error, int line) {
  if (error.where.empty()) error.where = "line " + std::to_string(line);
  return error;
}

}  // namespace

Interpreter::Interpreter(const Limits& limits, std::int64_t now_unix_s)
    : budget_(limits), now_unix_s_(now_unix_s), root_(std::make_shared<Scope>()) {
  for (const Function& function : global_functions()) root_->names[function.name] = &function;
}

Interpreter::~Interpreter() = default;

void Interpreter::define(std::string_view name, Value value) {
  root_->names[name] = std::move(value);
}

Result<std::string> Interpreter::render(const Block& block) {
  std::string output;
  out_ = &output;
  const auto flow = run(block, inside(root_));
  out_ = nullptr;
  if (!flow.ok()) return flow.error();
  return output;
}

Status Interpreter::emit(std::string_view text) {
  if (out_->size() + text.size() > static_cast<std::size_t>(budget_.limits().max_output_bytes)) {
    return render_error("the chat template's output is too long");
  }
  *out_ += text;
  return budget_.spend_reading(text.size());
}

Result<Interpreter::Flow> Interpreter::run(const Block& block,
                                           const std::shared_ptr<Scope>& scope) {
  for (const Stmt& statement : block) {
    auto flow = run(statement, scope);
    if (!flow.ok()) return at_line(std::move(flow).error(), statement.line);
    if (*flow != Flow::kNormal) return *flow;
  }
  return Flow::kNormal;
}

Result<Interpreter::Flow> Interpreter::run(const Stmt& statement,
                                           const std::shared_ptr<Scope>& scope) {
  const Depth depth(depth_);
  TANDEM_TRY_STATUS(budget_.spend_steps());
  if (depth_ > budget_.limits().max_depth) return render_error("recursion is too deep");
  const auto& form = statement.form;
  if (const auto* text = std::get_if<Text>(&form)) {
    TANDEM_TRY_STATUS(emit(text->text));
  } else if (const auto* output = std::get_if<Output>(&form)) {
    TANDEM_TRY(const Value value, eval(output->value, scope));
    TANDEM_TRY(const std::string printed, to_text(budget_, value));
    TANDEM_TRY_STATUS(emit(printed));
  } else if (const auto* branch = std::get_if<If>(&form)) {
    return run_if(*branch, scope);
  } else if (const auto* loop = std::get_if<For>(&form)) {
    return run_for(*loop, scope);
  } else if (const auto* set = std::get_if<Set>(&form)) {
    TANDEM_TRY(Value value, eval(set->value, scope));
    TANDEM_TRY_STATUS(assign(set->target, std::move(value), scope));
  } else if (const auto* set_block = std::get_if<SetBlock>(&form)) {
    TANDEM_TRY_STATUS(run_set_block(*set_block, scope));
  } else if (const auto* macro = std::get_if<std::unique_ptr<MacroDefinition>>(&form)) {
    TANDEM_TRY(Value value, define_macro(**macro, scope));
    scope->names[(*macro)->name] = std::move(value);
  } else if (const auto* call_block = std::get_if<CallBlock>(&form)) {
    TANDEM_TRY_STATUS(run_call_block(*call_block, scope));
  } else if (const auto* filter = std::get_if<FilterBlock>(&form)) {
    TANDEM_TRY_STATUS(run_filter_block(*filter, scope));
  } else if (const auto* with = std::get_if<With>(&form)) {
    return run_with(*with, scope);
  } else if (const auto* group = std::get_if<Group>(&form)) {
    return run(group->body, scope);
  } else {
    return std::get<LoopControl>(form).is_break ? Flow::kBreak : Flow::kContinue;
  }
  return Flow::kNormal;
}

Result<Interpreter::Flow> Interpreter::run_if(const If& statement,
                                              const std::shared_ptr<Scope>& scope) {
  for (const auto& [condition, block] : statement.branches) {
    TANDEM_TRY(const Value value, eval(condition, scope));
    if (value.truthy()) return run(block, scope);
  }
  return run(statement.otherwise, scope);
}

Result<Interpreter::Flow> Interpreter::run_for(const For& statement,
                                               const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(const Value sequence, eval(statement.sequence, scope));
  TANDEM_TRY_STATUS(run_loop(statement, scope, sequence, 1));
  return Flow::kNormal;
}

Result<std::vector<Value>> Interpreter::loop_items(const For& statement,
                                                   const std::shared_ptr<Scope>& scope,
                                                   const Value& sequence) {
  TANDEM_TRY(std::vector<Value> all, elements_of(budget_, sequence));
  if (!statement.condition) return all;
  std::vector<Value> kept;
  for (Value& item : all) {
    const auto item_scope = inside(scope);
    TANDEM_TRY_STATUS(assign(statement.target, item, item_scope));
    TANDEM_TRY(const Value wanted, eval(statement.condition, item_scope));
    if (wanted.truthy()) kept.push_back(std::move(item));
  }
  return kept;
}

Status Interpreter::run_loop(const For& statement, const std::shared_ptr<Scope>& scope,
                             const Value& sequence, int nesting) {
  auto loop = std::make_shared<LoopState>();
  TANDEM_TRY(loop->items, loop_items(statement, scope, sequence));
  for (const Value& item : loop->items) {
    loop->value_depth = std::max(loop->value_depth, item.depth());
  }
  loop->nesting = nesting;
  loop->statement = statement.recursive ? &statement : nullptr;
  const auto kept_scope = scope;
  loop->scope = const_cast<std::shared_ptr<Scope>*>(&kept_scope);
  Status status;
  for (; loop->index < loop->items.size(); ++loop->index) {
    const auto item_scope = inside(scope);
    item_scope->names["loop"] = Value(loop);
    status = assign(statement.target, loop->items[loop->index], item_scope);
    if (!status.ok()) break;
    auto flow = run(statement.body, item_scope);
    if (!flow.ok()) status = std::move(flow).error();
    if (!flow.ok() || *flow == Flow::kBreak) break;
  }
  // The loop may have been kept in a namespace: it must not point here any more.
  loop->statement = nullptr;
  loop->scope = nullptr;
  TANDEM_TRY_STATUS(status);
  if (!loop->items.empty()) return {};
  TANDEM_TRY_STATUS(run(statement.otherwise, inside(scope)));
  return {};
}

Result<Value> Interpreter::capture(const Block& block, const std::shared_ptr<Scope>& scope) {
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  const auto flow = run(block, inside(scope));
  out_ = outer;
  if (!flow.ok()) return flow.error();
  return make_string(budget_, std::move(text));
}

Status Interpreter::run_set_block(const SetBlock& statement, const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(Value value, capture(statement.body, scope));
  if (statement.filters) {
    const Value* const outer = std::exchange(block_text_, &value);
    auto filtered = eval(statement.filters, scope);
    block_text_ = outer;
    TANDEM_TRY(value, std::move(filtered));
  }
  return assign(statement.target, std::move(value), scope);
}

Status Interpreter::run_filter_block(const FilterBlock& statement,
                                     const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(const Value text, capture(statement.body, scope));
  const Value* const outer = std::exchange(block_text_, &text);
  const auto filtered = eval(statement.filters, scope);
  block_text_ = outer;
  if (!filtered.ok()) return filtered.error();
  TANDEM_TRY(const std::string printed, to_text(budget_, *filtered));
  return emit(printed);
}

Status Interpreter::run_call_block(const CallBlock& statement,
                                   const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(Value caller, define_macro(*statement.caller, scope));
  const auto& form = std::get<Call>(statement.call->form);
  TANDEM_TRY(const Value callee, eval(form.callee, scope));
  TANDEM_TRY(Arguments arguments, eval_arguments(form.arguments, scope));
  arguments.named.emplace_back("caller", std::move(caller));
  TANDEM_TRY(const Value value, call(callee, arguments));
  TANDEM_TRY(const std::string printed, to_text(budget_, value));
  return emit(printed);
}

Result<Interpreter::Flow> Interpreter::run_with(const With& statement,
                                                const std::shared_ptr<Scope>& scope) {
  const auto inner = inside(scope);
  for (const auto& [target, expr] : statement.assignments) {
    TANDEM_TRY(Value value, eval(expr, scope));
    TANDEM_TRY_STATUS(assign(target, std::move(value), inner));
  }
  return run(statement.body, inner);
}

Status Interpreter::assign(const Target& target, Value value, const std::shared_ptr<Scope>& scope) {
  if (!target.parts.empty()) {
    TANDEM_TRY(std::vector<Value> items, elements_of(budget_, value));
    if (items.size() != target.parts.size()) {
      return render_error("cannot unpack " + std::to_string(items.size()) + " values into " +
                          std::to_string(target.parts.size()) + " names");
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      TANDEM_TRY_STATUS(assign(target.parts[i], std::move(items[i]), scope));
    }
    return {};
  }
  if (target.attribute.empty()) {
    scope->names[target.name] = std::move(value);
    return {};
  }
  const Value* found = scope->find(target.name);
  const auto* data = found ? found->get_if<NamespaceData*>() : nullptr;
  if (!data) return render_error("cannot assign attribute on non-namespace object");
  TANDEM_TRY_STATUS(budget_.spend_steps(static_cast<std::int64_t>((*data)->entries.size() / 8)));
  (*data)->set(target.attribute, std::move(value));
  return {};
}

Result<Value> Interpreter::define_macro(const MacroDefinition& macro,
                                        const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY_STATUS(budget_.allocate(sizeof(Macro) + sizeof(Scope)));
  macros_.push_back(std::make_unique<Macro>(Macro{&macro, scope}));
  return Value(static_cast<const Macro*>(macros_.back().get()));
}

Result<NamespaceData*> Interpreter::new_namespace() {
  TANDEM_TRY_STATUS(budget_.allocate(sizeof(NamespaceData)));
  namespaces_.push_back(std::make_unique<NamespaceData>());
  return namespaces_.back().get();
}

Result<Value> Interpreter::call(const Value& callee, const Arguments& arguments) {
  const Depth depth(depth_);
  TANDEM_TRY_STATUS(budget_.spend_steps());
  if (depth_ > budget_.limits().max_depth) return render_error("recursion is too deep");
  if (callee.is_undefined()) return undefined_error(callee);
  if (const auto* macro = callee.get_if<const Macro*>()) return call_macro(**macro, arguments);
  if (const auto* function = callee.get_if<const Function*>()) {
    return (*function)->call(*this, arguments);
  }
  if (const auto* method = callee.get_if<std::shared_ptr<const MethodData>>()) {
    return call_method(*this, **method, arguments);
  }
  if (const auto* loop = callee.get_if<std::shared_ptr<LoopState>>()) {
    return call_loop(**loop, arguments);
  }
  return render_error("'" + std::string(type_name(callee)) + "' object is not callable");
}

Result<Value> Interpreter::call_loop(LoopState& loop, const Arguments& arguments) {
  if (!loop.statement || !loop.scope) {
    return render_error("the loop must have the 'recursive' marker to be called");
  }
  if (arguments.positional.size() != 1) return render_error("loop() takes one sequence");
  const auto& statement = *static_cast<const For*>(loop.statement);
  const auto scope = *static_cast<const std::shared_ptr<Scope>*>(loop.scope);
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  const auto status = run_loop(statement, scope, arguments.positional[0], loop.nesting + 1);
  out_ = outer;
  if (!status.ok()) return status.error();
  return make_string(budget_, std::move(text));
}

Result<Value> Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const auto scope = inside(macro.scope);
  TANDEM_TRY_STATUS(bind_macro(macro, arguments, scope));
  return capture(macro.definition->body, scope);
}

Status Interpreter::bind_macro(const Macro& macro, const Arguments& arguments,
                               const std::shared_ptr<Scope>& scope) {
  const MacroDefinition& definition = *macro.definition;
  const std::size_t num_parameters = definition.parameters.size();
  const std::size_t num_pairs = num_parameters * arguments.named.size();
  TANDEM_TRY_STATUS(budget_.spend_steps(static_cast<std::int64_t>(num_pairs / 16)));
  std::vector<bool> used(arguments.named.size());
  for (std::size_t i = 0; i < num_parameters; ++i) {
    const std::string& name = definition.parameters[i];
    Value value = make_undefined("parameter '" + name + "' was not provided");
    bool given = i < arguments.positional.size();
    if (given) value = arguments.positional[i];
    for (std::size_t j = 0; j < used.size(); ++j) {
      if (arguments.named[j].first != name || given) continue;
      value = arguments.named[j].second;
      given = used[j] = true;
    }
    const std::size_t first_default = num_parameters - definition.defaults.size();
    if (!given && i >= first_default) {
      TANDEM_TRY(value, eval(definition.defaults[i - first_default], scope));
    }
    scope->names[name] = std::move(value);
  }
  std::vector<std::pair<Value, Value>> rest;
  for (std::size_t j = 0; j < used.size(); ++j) {
    const auto& [name, value] = arguments.named[j];
    if (used[j]) continue;
    if (name == "caller" && definition.uses_caller) {
      scope->names["caller"] = value;
    } else if (definition.uses_kwargs) {
      rest.emplace_back(make_text(name), value);
    } else {
      return render_error("macro '" + definition.name + "' takes no keyword argument '" + name +
                          "'");
    }
  }
  if (definition.uses_caller && !scope->names.contains("caller")) {
    scope->names["caller"] = make_undefined("No caller defined");
  }
  if (definition.uses_kwargs) {
    TANDEM_TRY(scope->names["kwargs"], make_dict(budget_, std::move(rest)));
  }
  if (definition.uses_varargs) {
    std::vector<Value> extra;
    for (std::size_t i = num_parameters; i < arguments.positional.size(); ++i)
      extra.push_back(arguments.positional[i]);
    TANDEM_TRY(scope->names["varargs"],
               make_sequence(budget_, std::move(extra), SequenceKind::kTuple));
  } else if (arguments.positional.size() > num_parameters) {
    return render_error("macro '" + definition.name + "' takes not more than " +
                        std::to_string(num_parameters) + " arguments");
  }
  return {};
}

Result<Value> Interpreter::eval(const Expr& expr, const std::shared_ptr<Scope>& scope) {
  const Depth depth(depth_);
  TANDEM_TRY_STATUS(budget_.spend_steps());
  if (depth_ > budget_.limits().max_depth) return render_error("recursion is too deep");
  auto value = eval_form(expr, scope);
  if (!value.ok()) return at_line(std::move(value).error(), expr.line);
  return value;
}

}  // namespace tandem::jinja
