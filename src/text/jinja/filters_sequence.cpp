// Filters of lists and dicts that take no attribute.
#include <algorithm>

#include "text/jinja/arguments.h"
#include "text/jinja/attributes.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/py_string.h"
#include "text/jinja/text_form.h"

namespace tandem::jinja {
namespace {

Result<Value> length(Interpreter& interpreter, const Value& value, const Arguments&) {
  TANDEM_TRY(const std::size_t count, length_of(interpreter.budget(), value));
  return Value(static_cast<Int>(count));
}

Result<Value> list(Interpreter& interpreter, const Value& value, const Arguments&) {
  TANDEM_TRY(auto items, elements_of(interpreter.budget(), value));
  return make_sequence(interpreter.budget(), std::move(items));
}

Result<Value> first(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (auto* iterator = value.as_iterator()) {
    if (iterator->next < iterator->items.size()) return iterator->items[iterator->next++];
    return make_undefined("No first item, sequence was empty.");
  }
  TANDEM_TRY(const auto items, elements_of(interpreter.budget(), value));
  return items.empty() ? make_undefined("No first item, sequence was empty.") : items.front();
}

Result<Value> last(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.as_iterator()) return render_error("'generator' object is not reversible");
  TANDEM_TRY(const auto items, elements_of(interpreter.budget(), value));
  return items.empty() ? make_undefined("No last item, sequence was empty.") : items.back();
}

Result<Value> reverse(Interpreter& interpreter, const Value& value, const Arguments&) {
  TANDEM_TRY(auto items, elements_of(interpreter.budget(), value));
  std::reverse(items.begin(), items.end());
  const auto* text = value.as_string();
  if (!text) return make_iterator(interpreter.budget(), std::move(items));
  std::string reversed;
  for (const Value& character : items) reversed += character.as_string()->text;
  return make_string(interpreter.budget(), std::move(reversed), text->safe);
}

Result<Value> items_filter(Interpreter& interpreter, const Value& value, const Arguments&) {
  std::vector<Value> pairs;
  const auto* dict = value.as_dict();
  if (!dict && !value.is_undefined())
    return render_error("Can only get item pairs from a mapping.");
  for (std::size_t i = 0; dict && i < dict->entries.size(); ++i) {
    const auto& [key, item] = dict->entries[i];
    TANDEM_TRY(Value pair, make_sequence(interpreter.budget(), {key, item}, SequenceKind::kTuple));
    pairs.push_back(std::move(pair));
  }
  return make_iterator(interpreter.budget(), std::move(pairs));
}

// Cut into rows of `per_row`; the last is filled up where `fill` was given.
Result<Value> batch(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("batch", {"linecount", "fill_with"}, arguments, 1));
  TANDEM_TRY(const Int per_row, int_or(bound[0], 1));
  if (per_row < 1 || per_row > Int{1} << 30) return render_error("batch takes a positive count");
  TANDEM_TRY(const auto items, elements_of(interpreter.budget(), value));
  const auto width = static_cast<std::size_t>(per_row);
  std::vector<Value> rows;
  for (std::size_t start = 0; start < items.size(); start += width) {
    const std::size_t end = std::min(start + width, items.size());
    std::vector<Value> row(items.begin() + static_cast<std::ptrdiff_t>(start),
                           items.begin() + static_cast<std::ptrdiff_t>(end));
    if (bound[1] && !bound[1]->is_none()) {
      TANDEM_TRY_STATUS(interpreter.budget().allocate(width, sizeof(Value)));
      row.resize(width, *bound[1]);
    }
    TANDEM_TRY(Value list_value, make_sequence(interpreter.budget(), std::move(row)));
    rows.push_back(std::move(list_value));
  }
  return make_iterator(interpreter.budget(), std::move(rows));
}

// Cut into `slices` columns of lengths that differ by one at most.
Result<Value> slice(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("slice", {"slices", "fill_with"}, arguments, 1));
  TANDEM_TRY(const Int slices, int_or(bound[0], 1));
  if (slices < 1 || slices > 100'000) return render_error("slice takes a positive count");
  TANDEM_TRY(const auto items, elements_of(interpreter.budget(), value));
  const auto count = static_cast<std::size_t>(slices);
  const std::size_t longer = items.size() % count;
  std::vector<Value> columns;
  std::size_t start = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end = start + items.size() / count + (i < longer ? 1 : 0);
    std::vector<Value> column(items.begin() + static_cast<std::ptrdiff_t>(start),
                              items.begin() + static_cast<std::ptrdiff_t>(end));
    if (bound[1] && !bound[1]->is_none() && i >= longer) column.push_back(*bound[1]);
    TANDEM_TRY(Value list_value, make_sequence(interpreter.budget(), std::move(column)));
    columns.push_back(std::move(list_value));
    start = end;
  }
  return make_iterator(interpreter.budget(), std::move(columns));
}

Result<Value> dictsort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("dictsort", {"case_sensitive", "by", "reverse"}, arguments));
  TANDEM_TRY(const auto by, text_or_none(bound[1]));
  const auto* dict = value.as_dict();
  if (!dict) return render_error("dictsort takes a mapping");
  if (by && *by != "key" && *by != "value")
    return render_error("You can only sort by either 'key' or 'value'");
  Arguments sorting;
  const Value index(Int{by && *by == "value" ? 1 : 0});
  sorting.named = {{"attribute", index},
                   {"case_sensitive", Value(bool_or(bound[0], false))},
                   {"reverse", Value(bool_or(bound[2], false))}};
  TANDEM_TRY(const Value pairs, items_filter(interpreter, value, {}));
  return apply_filter(interpreter, "sort", pairs, sorting);
}

constexpr NamedFilter kFilters[] = {
    {"length", length}, {"count", length},     {"list", list},          {"first", first},
    {"last", last},     {"reverse", reverse},  {"items", items_filter}, {"batch", batch},
    {"slice", slice},   {"dictsort", dictsort}};

}  // namespace

std::span<const NamedFilter> sequence_filters() {
  return kFilters;
}

}  // namespace tandem::jinja
