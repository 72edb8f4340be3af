#pragma once

#include "text/jinja/ast.h"
#include "text/jinja/value.h"

namespace tandem::jinja {

// Python's operators, without `and` and `or`, which decide what to evaluate.
Result<Value> apply_binary(Budget& budget, BinaryOp op, const Value& left, const Value& right);
Result<Value> apply_unary(UnaryOp op, const Value& operand);
Result<bool> apply_compare(Budget& budget, CompareOp op, const Value& left, const Value& right);

// left == right, of any two values.
Result<bool> equals(Budget& budget, const Value& left, const Value& right);
// Below, equal or above zero. Errors: types that Python does not order.
Result<int> order(Budget& budget, const Value& left, const Value& right);
// item in container.
Result<bool> contains(Budget& budget, const Value& container, const Value& item);

// Python's "%" on a string: %s %r %d %i %x %o %e %f %g %% with flags, width and precision; %(name)s
// with a dict.
Result<Value> format_percent(Budget& budget, const StringData& format, const Value& values);

// "'x' is undefined" and the like.
Error undefined_error(const Value& undefined);

}  // namespace tandem::jinja
