// Filters that look at each element, or at an attribute of it.
#include <algorithm>

#include "text/jinja/arguments.h"
#include "text/jinja/attributes.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/predicates.h"
#include "text/jinja/py_string.h"
#include "text/jinja/text_form.h"

namespace tandem::jinja {
namespace {

// As jinja2 does in map and select: nothing of what counts as false, be it iterable or not.
Result<std::vector<Value>> elements_if_any(Budget& budget, const Value& value) {
  if (!value.truthy()) return std::vector<Value>();
  return elements_of(budget, value);
}

// What an element is judged by: its attribute (itself without one), in lower case unless asked.
Result<Value> key_of(Budget& budget, const Value& item, const Value* attribute, bool fold_case) {
  Value key = item;
  if (attribute && !attribute->is_none()) {
    TANDEM_TRY(key, attribute_path(budget, item, *attribute));
  }
  const auto* text = key.as_string();
  if (!text || !fold_case) return key;
  return make_string(budget, lower_of(text->text));
}

Result<std::vector<Value>> keys_of(Budget& budget, const std::vector<Value>& items,
                                   const Value* attribute, bool fold_case) {
  TANDEM_TRY_STATUS(budget.allocate(items.size(), sizeof(Value)));
  std::vector<Value> keys;
  for (const Value& item : items) {
    TANDEM_TRY(Value key, key_of(budget, item, attribute, fold_case));
    keys.push_back(std::move(key));
  }
  return keys;
}

// The indexes of `keys` in order; equal ones stay in theirs, also when reversed.
Result<std::vector<std::size_t>> sorted_indexes(Budget& budget, const std::vector<Value>& keys,
                                                bool descending) {
  std::vector<std::size_t> indexes(keys.size());
  for (std::size_t i = 0; i < indexes.size(); ++i) indexes[i] = i;
  Status status;
  std::stable_sort(indexes.begin(), indexes.end(), [&](std::size_t a, std::size_t b) {
    if (!status.ok()) return false;
    const auto sign = order(budget, keys[descending ? b : a], keys[descending ? a : b]);
    if (!sign.ok()) status = sign.error();
    return sign.ok() && *sign < 0;
  });
  TANDEM_TRY_STATUS(status);
  return indexes;
}

Result<Value> sort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound,
             bind("sort", {"reverse", "case_sensitive", "attribute"}, arguments));
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const auto items, elements_of(budget, value));
  TANDEM_TRY(const auto keys, keys_of(budget, items, bound[2], !bool_or(bound[1], false)));
  TANDEM_TRY(const auto indexes, sorted_indexes(budget, keys, bool_or(bound[0], false)));
  std::vector<Value> sorted;
  for (const std::size_t index : indexes) sorted.push_back(items[index]);
  return make_sequence(budget, std::move(sorted));
}

template <bool Largest>
Result<Value> extreme(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound,
             bind(Largest ? "max" : "min", {"case_sensitive", "attribute"}, arguments));
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const auto items, elements_of(budget, value));
  if (items.empty()) return make_undefined("No aggregated item, sequence was empty.");
  TANDEM_TRY(const auto keys, keys_of(budget, items, bound[1], !bool_or(bound[0], false)));
  std::size_t best = 0;
  for (std::size_t i = 1; i < items.size(); ++i) {
    TANDEM_TRY(const int sign, order(budget, keys[i], keys[best]));
    if (Largest ? sign > 0 : sign < 0) best = i;
  }
  return items[best];
}

Result<Value> unique(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("unique", {"case_sensitive", "attribute"}, arguments));
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const auto items, elements_of(budget, value));
  TANDEM_TRY(const auto keys, keys_of(budget, items, bound[1], !bool_or(bound[0], false)));
  std::unordered_map<std::string, bool> seen;
  std::vector<Value> kept;
  for (std::size_t i = 0; i < items.size(); ++i) {
    auto name = hash_key(keys[i]);
    if (!name) return render_error("unhashable type: '" + std::string(type_name(keys[i])) + "'");
    TANDEM_TRY_STATUS(budget.allocate(name->size() + sizeof(Value)));
    if (seen.emplace(std::move(*name), true).second) kept.push_back(items[i]);
  }
  return make_iterator(budget, std::move(kept));
}

Result<Value> sum(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("sum", {"attribute", "start"}, arguments));
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const auto items, elements_of(budget, value));
  Value total = bound[1] ? *bound[1] : Value(Int{0});
  if (total.is_string()) return render_error("sum() can't sum strings");
  for (const Value& item : items) {
    TANDEM_TRY(const Value part, key_of(budget, item, bound[0], false));
    TANDEM_TRY(total, apply_binary(budget, BinaryOp::kAdd, total, part));
  }
  return total;
}

Result<Value> join(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("join", {"d", "attribute"}, arguments));
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const auto items, elements_of(budget, value));
  TANDEM_TRY(const std::string glue,
             bound[0] ? to_text(budget, *bound[0]) : Result<std::string>(std::string()));
  TANDEM_TRY_STATUS(budget.allocate(items.size(), glue.size()));
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    TANDEM_TRY(const Value part, key_of(budget, items[i], bound[1], false));
    TANDEM_TRY(const std::string printed, to_text(budget, part));
    if (i > 0) text += glue;
    text += printed;
  }
  return make_string(budget, std::move(text));
}

Result<Value> groupby(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound,
             bind("groupby", {"attribute", "default", "case_sensitive"}, arguments, 1));
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const auto items, elements_of(budget, value));
  const bool fold_case = !bool_or(bound[2], false);
  TANDEM_TRY(auto keys, keys_of(budget, items, bound[0], fold_case));
  for (Value& key : keys) {
    if (key.is_undefined() && bound[1]) key = *bound[1];
  }
  TANDEM_TRY(const auto indexes, sorted_indexes(budget, keys, false));
  std::vector<Value> groups;
  for (std::size_t i = 0; i < indexes.size();) {
    const Value& key = keys[indexes[i]];
    std::vector<Value> members;
    TANDEM_TRY(const Value name, key_of(budget, items[indexes[i]], bound[0], false));
    for (; i < indexes.size(); ++i) {
      TANDEM_TRY(const bool same, equals(budget, keys[indexes[i]], key));
      if (!same) break;
      members.push_back(items[indexes[i]]);
    }
    TANDEM_TRY(Value list, make_sequence(budget, std::move(members)));
    TANDEM_TRY(Value group,
               make_sequence(budget, {name.is_undefined() ? key : name, std::move(list)},
                             SequenceKind::kTuple));
    groups.push_back(std::move(group));
  }
  return make_sequence(budget, std::move(groups));
}

Result<Value> map(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const auto items, elements_if_any(budget, value));
  std::vector<Value> results;
  if (!arguments.positional.empty()) {
    const auto* name = arguments.positional[0].as_string();
    if (!name) return render_error("map requires a filter argument");
    Arguments rest = arguments;
    rest.positional.erase(rest.positional.begin());
    for (const Value& item : items) {
      TANDEM_TRY(Value result, apply_filter(interpreter, name->text, item, rest));
      results.push_back(std::move(result));
    }
    return make_iterator(budget, std::move(results));
  }
  TANDEM_TRY(const Bound bound, bind("map", {"attribute", "default"}, arguments, 1));
  for (const Value& item : items) {
    TANDEM_TRY(Value result, attribute_path(budget, item, *bound[0]));
    if (result.is_undefined() && bound[1]) result = *bound[1];
    results.push_back(std::move(result));
  }
  return make_iterator(budget, std::move(results));
}

// select, reject and their *attr forms: [attribute,] [test, arguments...].
template <bool Keep, bool ByAttribute>
Result<Value> select(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Budget& budget = interpreter.budget();
  Arguments rest = arguments;
  const auto take = [&rest] {
    Value front = rest.positional.front();
    rest.positional.erase(rest.positional.begin());
    return front;
  };
  if (ByAttribute && rest.positional.empty())
    return render_error("Missing parameter for attribute name");
  const Value attribute = ByAttribute ? take() : Value();
  const bool has_test = !rest.positional.empty();
  const Value test = has_test ? take() : Value();
  if (has_test && !test.is_string()) return render_error("the name of a test must be a string");
  TANDEM_TRY(const auto items, elements_if_any(budget, value));
  std::vector<Value> kept;
  for (const Value& item : items) {
    TANDEM_TRY(const Value judged,
               ByAttribute ? attribute_path(budget, item, attribute) : Result<Value>(item));
    bool holds = judged.truthy();
    if (has_test) {
      TANDEM_TRY(holds, apply_test(interpreter, test.as_string()->text, judged, rest));
    }
    TANDEM_TRY_STATUS(budget.spend_steps());
    if (holds == Keep) kept.push_back(item);
  }
  return make_iterator(budget, std::move(kept));
}

Result<Value> attr(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("attr", {"name"}, arguments, 1));
  const auto* name = bound[0]->as_string();
  // Attributes only: an item of that name does not count.
  if (!name || value.as_dict()) return make_undefined("no such attribute");
  return get_attribute(interpreter.budget(), value, name->text);
}

constexpr NamedFilter kFilters[] = {{"map", map},
                                    {"select", select<true, false>},
                                    {"reject", select<false, false>},
                                    {"selectattr", select<true, true>},
                                    {"rejectattr", select<false, true>},
                                    {"sort", sort},
                                    {"unique", unique},
                                    {"min", extreme<false>},
                                    {"max", extreme<true>},
                                    {"sum", sum},
                                    {"join", join},
                                    {"groupby", groupby},
                                    {"attr", attr}};

}  // namespace

std::span<const NamedFilter> select_filters() {
  return kFilters;
}

Result<Value> attribute_path(Budget& budget, const Value& value, const Value& attribute) {
  const auto* path = attribute.as_string();
  if (!path) return get_item(budget, value, attribute);
  Value at = value;
  for (const auto part : split(path->text, ".", -1, false)) {
    TANDEM_TRY_STATUS(budget.spend_steps());
    const auto index = text_to_int(part);
    const bool is_number =
        index && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    TANDEM_TRY(at, get_item(budget, at, is_number ? Value(*index) : make_text(std::string(part))));
  }
  return at;
}

}  // namespace tandem::jinja
