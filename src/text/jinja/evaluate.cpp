// The expressions of interpreter.h.
#include "text/jinja/attributes.h"
#include "text/jinja/filters.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/predicates.h"
#include "text/jinja/text_form.h"

namespace tandem::jinja {

Result<Value> Interpreter::eval_form(const Expr& expr, const std::shared_ptr<Scope>& scope) {
  const auto& form = expr.form;
  if (const auto* constant = std::get_if<Constant>(&form)) return constant->value;
  if (const auto* name = std::get_if<Name>(&form)) return eval_name(*name, *scope);
  if (const auto* literal = std::get_if<SequenceLiteral>(&form))
    return eval_sequence(*literal, scope);
  if (const auto* literal = std::get_if<DictLiteral>(&form)) return eval_dict(*literal, scope);
  if (const auto* unary = std::get_if<Unary>(&form)) {
    TANDEM_TRY(const Value operand, eval(unary->operand, scope));
    return apply_unary(unary->op, operand);
  }
  if (const auto* binary = std::get_if<Binary>(&form)) return eval_binary(*binary, scope);
  if (const auto* concat = std::get_if<Concat>(&form)) return eval_concat(*concat, scope);
  if (const auto* compare = std::get_if<Compare>(&form)) return eval_compare(*compare, scope);
  if (const auto* choice = std::get_if<Conditional>(&form)) return eval_conditional(*choice, scope);
  if (const auto* attribute = std::get_if<Attribute>(&form)) {
    TANDEM_TRY(const Value value, eval(attribute->value, scope));
    return get_attribute(budget_, value, attribute->name);
  }
  if (const auto* item = std::get_if<Item>(&form)) {
    TANDEM_TRY(const Value value, eval(item->value, scope));
    TANDEM_TRY(const Value key, eval(item->key, scope));
    return get_item(budget_, value, key);
  }
  if (const auto* slice = std::get_if<Slice>(&form)) return eval_slice(*slice, scope);
  if (const auto* call_form = std::get_if<Call>(&form)) {
    TANDEM_TRY(const Value callee, eval(call_form->callee, scope));
    TANDEM_TRY(const Arguments arguments, eval_arguments(call_form->arguments, scope));
    return call(callee, arguments);
  }
  if (const auto* filter = std::get_if<Filter>(&form)) return eval_filter(*filter, scope);
  return eval_test(std::get<TestExpr>(form), scope);
}

Result<Value> Interpreter::eval_name(const Name& name, const Scope& scope) {
  if (const Value* found = scope.find(name.name)) return *found;
  return make_undefined("'" + name.name + "' is undefined");
}

Result<Value> Interpreter::eval_sequence(const SequenceLiteral& literal,
                                         const std::shared_ptr<Scope>& scope) {
  std::vector<Value> items;
  for (const ExprPtr& expr : literal.items) {
    TANDEM_TRY(Value item, eval(expr, scope));
    items.push_back(std::move(item));
  }
  return make_sequence(budget_, std::move(items), literal.kind);
}

Result<Value> Interpreter::eval_dict(const DictLiteral& literal,
                                     const std::shared_ptr<Scope>& scope) {
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key_expr, value_expr] : literal.entries) {
    TANDEM_TRY(Value key, eval(key_expr, scope));
    TANDEM_TRY(Value value, eval(value_expr, scope));
    entries.emplace_back(std::move(key), std::move(value));
  }
  return make_dict(budget_, std::move(entries));
}

Result<Value> Interpreter::eval_binary(const Binary& binary, const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(const Value left, eval(binary.left, scope));
  if (binary.op == BinaryOp::kAnd) return left.truthy() ? eval(binary.right, scope) : left;
  if (binary.op == BinaryOp::kOr) return left.truthy() ? left : eval(binary.right, scope);
  TANDEM_TRY(const Value right, eval(binary.right, scope));
  return apply_binary(budget_, binary.op, left, right);
}

Result<Value> Interpreter::eval_concat(const Concat& concat, const std::shared_ptr<Scope>& scope) {
  std::string text;
  for (const ExprPtr& expr : concat.parts) {
    TANDEM_TRY(const Value part, eval(expr, scope));
    TANDEM_TRY(const std::string printed, to_text(budget_, part));
    text += printed;
  }
  return make_string(budget_, std::move(text));
}

Result<Value> Interpreter::eval_compare(const Compare& compare,
                                        const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(Value left, eval(compare.first, scope));
  for (const auto& [op, expr] : compare.rest) {
    TANDEM_TRY(Value right, eval(expr, scope));
    TANDEM_TRY(const bool holds, apply_compare(budget_, op, left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Interpreter::eval_conditional(const Conditional& form,
                                            const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(const Value condition, eval(form.condition, scope));
  if (condition.truthy()) return eval(form.if_true, scope);
  if (form.if_false) return eval(form.if_false, scope);
  return make_undefined("the inline if-expression evaluated to false and no else was given");
}

Result<Value> Interpreter::eval_slice(const Slice& slice, const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(const Value value, eval(slice.value, scope));
  Value bounds[3] = {None{}, None{}, None{}};
  const ExprPtr* const exprs[] = {&slice.start, &slice.stop, &slice.step};
  for (int i = 0; i < 3; ++i) {
    if (!*exprs[i]) continue;
    TANDEM_TRY(bounds[i], eval(*exprs[i], scope));
  }
  return get_slice(budget_, value, bounds[0], bounds[1], bounds[2]);
}

Result<Arguments> Interpreter::eval_arguments(const CallArguments& arguments,
                                              const std::shared_ptr<Scope>& scope) {
  Arguments result;
  for (const ExprPtr& expr : arguments.positional) {
    TANDEM_TRY(Value value, eval(expr, scope));
    result.positional.push_back(std::move(value));
  }
  if (arguments.star) {
    TANDEM_TRY(const Value list, eval(arguments.star, scope));
    TANDEM_TRY(const auto items, elements_of(budget_, list));
    result.positional.insert(result.positional.end(), items.begin(), items.end());
  }
  for (const auto& [name, expr] : arguments.named) {
    TANDEM_TRY(Value value, eval(expr, scope));
    result.named.emplace_back(name, std::move(value));
  }
  if (arguments.double_star) {
    TANDEM_TRY(const Value more, eval(arguments.double_star, scope));
    const auto* dict = more.as_dict();
    if (!dict) return render_error("argument after ** must be a mapping");
    for (const auto& [key, value] : dict->entries) {
      const auto* name = key.as_string();
      if (!name) return render_error("keywords must be strings");
      TANDEM_TRY_STATUS(budget_.allocate(name->text.size() + sizeof(Value)));
      result.named.emplace_back(name->text, value);
    }
  }
  return result;
}

Result<Value> Interpreter::eval_filter(const Filter& filter, const std::shared_ptr<Scope>& scope) {
  Value value = block_text_ ? *block_text_ : Value();
  if (filter.value) {
    TANDEM_TRY(value, eval(filter.value, scope));
  }
  TANDEM_TRY(const Arguments arguments, eval_arguments(filter.arguments, scope));
  return apply_filter(*this, filter.name, value, arguments);
}

Result<Value> Interpreter::eval_test(const TestExpr& test, const std::shared_ptr<Scope>& scope) {
  TANDEM_TRY(const Value value, eval(test.value, scope));
  TANDEM_TRY(const Arguments arguments, eval_arguments(test.arguments, scope));
  TANDEM_TRY(const bool holds, apply_test(*this, test.name, value, arguments));
  return Value(holds != test.negated);
}

}  // namespace tandem::jinja
