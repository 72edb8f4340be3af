#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/value.h"

namespace tandem::jinja {

// The values that a call, a filter or a test is given.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Names and their values; what is not here is looked for in `parent`.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::unordered_map<std::string_view, Value> names;

  const Value* find(std::string_view name) const;
};

struct Macro {
  const MacroDefinition* definition;
  std::shared_ptr<Scope> scope;  // where it was defined
};

class Interpreter;

// A global function: range, dict, namespace, raise_exception, strftime_now.
struct Function {
  std::string_view name;
  Result<Value> (*call)(Interpreter&, const Arguments&);
};

// Renders one parsed template once, within its Limits.
class Interpreter {
 public:
  // now_unix_s: what strftime_now() says, in seconds since 1970, shown in local time.
  Interpreter(const Limits& limits, std::int64_t now_unix_s);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Defines a name for the template; `name` must outlive the interpreter.
  void define(std::string_view name, Value value);
  // The output. Errors carry the template's line; raise_exception()'s message stands in `what`.
  Result<std::string> render(const Block& block);

  // For functions, filters and tests.
  Budget& budget() { return budget_; }
  std::int64_t now_unix_s() const { return now_unix_s_; }
  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<NamespaceData*> new_namespace();

 private:
  enum class Flow { kNormal, kBreak, kContinue };
  class Depth;

  Result<Flow> run(const Block& block, const std::shared_ptr<Scope>& scope);
  Result<Flow> run(const Stmt& statement, const std::shared_ptr<Scope>& scope);
  Result<Flow> run_if(const If& statement, const std::shared_ptr<Scope>& scope);
  Result<Flow> run_for(const For& statement, const std::shared_ptr<Scope>& scope);
  Status run_loop(const For& statement, const std::shared_ptr<Scope>& scope, const Value& sequence,
                  int nesting);
  Result<std::vector<Value>> loop_items(const For& statement, const std::shared_ptr<Scope>& scope,
                                        const Value& sequence);
  Status run_set_block(const SetBlock& statement, const std::shared_ptr<Scope>& scope);
  Status run_call_block(const CallBlock& statement, const std::shared_ptr<Scope>& scope);
  Status run_filter_block(const FilterBlock& statement, const std::shared_ptr<Scope>& scope);
  Result<Flow> run_with(const With& statement, const std::shared_ptr<Scope>& scope);
  // The text that the block would put out, run in a scope of its own.
  Result<Value> capture(const Block& block, const std::shared_ptr<Scope>& scope);
  Status emit(std::string_view text);
  Status assign(const Target& target, Value value, const std::shared_ptr<Scope>& scope);
  Result<Value> define_macro(const MacroDefinition& macro, const std::shared_ptr<Scope>& scope);

  Result<Value> eval(const Expr& expr, const std::shared_ptr<Scope>& scope);
  Result<Value> eval(const ExprPtr& expr, const std::shared_ptr<Scope>& scope) {
    return eval(*expr, scope);
  }
  Result<Value> eval_form(const Expr& expr, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_name(const Name& name, const Scope& scope);
  Result<Value> eval_sequence(const SequenceLiteral& literal, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_dict(const DictLiteral& literal, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_binary(const Binary& binary, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_concat(const Concat& concat, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_compare(const Compare& compare, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_conditional(const Conditional& form, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_slice(const Slice& slice, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_filter(const Filter& filter, const std::shared_ptr<Scope>& scope);
  Result<Value> eval_test(const TestExpr& test, const std::shared_ptr<Scope>& scope);
  Result<Arguments> eval_arguments(const CallArguments& arguments,
                                   const std::shared_ptr<Scope>& scope);

  Result<Value> call_macro(const Macro& macro, const Arguments& arguments);
  Status bind_macro(const Macro& macro, const Arguments& arguments,
                    const std::shared_ptr<Scope>& scope);
  Result<Value> call_loop(LoopState& loop, const Arguments& arguments);

  Budget budget_;
  std::int64_t now_unix_s_;
  int depth_ = 0;
  std::string* out_ = nullptr;
  const Value* block_text_ = nullptr;  // what the filters of a block start from
  std::shared_ptr<Scope> root_;
  std::vector<std::unique_ptr<Macro>> macros_;
  std::vector<std::unique_ptr<NamespaceData>> namespaces_;
};

}  // namespace tandem::jinja
