#include "text/jinja/attributes.h"

#include <algorithm>

#include "text/jinja/arguments.h"
#include "text/jinja/operators.h"
#include "text/jinja/py_string.h"

namespace tandem::jinja {
namespace {

// What a message calls the value's type (jinja2's object_type_repr).
std::string described(const Value& value) {
  return value.is_none() ? "None" : std::string(type_name(value)) + " object";
}

Value missing_attribute(const Value& value, std::string_view name) {
  return make_undefined("'" + described(value) + "' has no attribute '" +
                        std::string(name.substr(0, 80)) + "'");
}

template <std::size_t N>
bool is_one_of(std::string_view name, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool has_method(const Value& value, std::string_view name) {
  static constexpr std::string_view kDict[] = {"get", "items", "keys", "values", "copy"};
  static constexpr std::string_view kList[] = {"count", "index", "copy"};
  static constexpr std::string_view kTuple[] = {"count", "index"};
  if (value.is_string()) return find_string_method(name) != nullptr;
  if (value.as_dict()) return is_one_of(name, kDict);
  const auto* sequence = value.as_sequence();
  if (!sequence || sequence->kind > SequenceKind::kTuple) return false;
  return sequence->kind == SequenceKind::kList ? is_one_of(name, kList) : is_one_of(name, kTuple);
}

// What changes its object is hidden by the immutable sandbox, also from keys of the same name.
bool is_hidden(const Value& value, std::string_view name) {
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  static constexpr std::string_view kList[] = {"append", "clear", "pop",    "reverse",
                                               "insert", "sort",  "extend", "remove"};
  if (value.as_dict()) return is_one_of(name, kDict);
  const auto* sequence = value.as_sequence();
  return sequence && sequence->kind == SequenceKind::kList && is_one_of(name, kList);
}

Result<Value> loop_attribute(Budget& budget, const Value& value, const LoopState& loop,
                             std::string_view name) {
  const auto index = static_cast<Int>(loop.index);
  const auto length = static_cast<Int>(loop.items.size());
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(length - index);
  if (name == "revindex0") return Value(length - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 >= length);
  if (name == "length") return Value(length);
  if (name == "depth") return Value(Int{loop.nesting});
  if (name == "depth0") return Value(Int{loop.nesting - 1});
  if (name == "previtem") {
    return index == 0 ? make_undefined("there is no previous item") : loop.items[loop.index - 1];
  }
  if (name == "nextitem") {
    return index + 1 >= length ? make_undefined("there is no next item")
                               : loop.items[loop.index + 1];
  }
  if (name == "cycle" || name == "changed") {
    TANDEM_TRY_STATUS(budget.allocate(sizeof(MethodData)));
    return Value(std::make_shared<const MethodData>(MethodData{value, std::string(name)}));
  }
  return missing_attribute(value, name);
}

// Nullopt where there is no such attribute; hidden ones are undefined.
Result<std::optional<Value>> find_attribute(Budget& budget, const Value& value,
                                            std::string_view name) {
  if (has_method(value, name)) {
    TANDEM_TRY_STATUS(budget.allocate(sizeof(MethodData)));
    return std::optional(
        Value(std::make_shared<const MethodData>(MethodData{value, std::string(name)})));
  }
  if (is_hidden(value, name)) {
    return std::optional(make_undefined("access to attribute '" + std::string(name) + "' of '" +
                                        std::string(type_name(value)) + "' object is unsafe."));
  }
  if (const auto* loop = value.get_if<std::shared_ptr<LoopState>>()) {
    TANDEM_TRY(Value found, loop_attribute(budget, value, **loop, name));
    return std::optional(std::move(found));
  }
  if (const auto* space = value.get_if<NamespaceData*>()) {
    TANDEM_TRY_STATUS(budget.spend_steps(static_cast<std::int64_t>((*space)->entries.size() / 8)));
    if (const Value* found = (*space)->find(name)) return std::optional(*found);
  }
  if (const auto* macro = value.get_if<const Macro*>(); macro && name == "name") {
    return std::optional(make_text((*macro)->definition->name));
  }
  return std::optional<Value>();
}

const Value* element_at(const std::vector<Value>& items, Int index) {
  const auto size = static_cast<Int>(items.size());
  if (index < 0) index += size;
  return index >= 0 && index < size ? &items[static_cast<std::size_t>(index)] : nullptr;
}

// Where the code point of that index starts.
std::size_t byte_offset(std::string_view text, Int index) {
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += code_point_bytes(text, at);
  return at;
}

// Nullopt where there is no such item.
Result<std::optional<Value>> find_item(Budget& budget, const Value& value, const Value& key) {
  const auto found = [](const Value* item) {
    return item ? std::optional(*item) : std::optional<Value>();
  };
  if (const auto* dict = value.as_dict()) {
    if (const auto* text = key.as_string()) {
      TANDEM_TRY_STATUS(budget.spend_reading(text->text.size()));
      return found(dict->find(text->text));
    }
    return found(dict->find(key));
  }
  const auto index = key.as_int();
  const auto* sequence = value.as_sequence();
  const bool is_view = sequence && sequence->kind >= SequenceKind::kKeys;
  if (!index || is_view) return std::optional<Value>();
  if (sequence) return found(element_at(sequence->items, *index));
  const auto* text = value.as_string();
  if (!text) return std::optional<Value>();
  TANDEM_TRY_STATUS(budget.spend_reading(2 * text->text.size()));
  const auto size = static_cast<Int>(num_code_points(text->text));
  const Int place = *index < 0 ? *index + size : *index;
  if (place < 0 || place >= size) return std::optional<Value>();
  const std::size_t start = byte_offset(text->text, place);
  const std::size_t length = code_point_bytes(text->text, start);
  return std::optional(make_text(text->text.substr(start, length), text->safe));
}

// Python's slice.indices(): the first index, the step and how many.
struct Picks {
  Int start = 0;
  Int step = 1;
  Int count = 0;
};

Result<Picks> picks_of(Int size, const Value& start, const Value& stop, const Value& step) {
  Picks picks;
  TANDEM_TRY(picks.step, int_or(&step, 1));
  if (picks.step == 0) return render_error("slice step cannot be zero");
  const bool forward = picks.step > 0;
  const Int lowest = forward ? 0 : -1;
  const Int highest = forward ? size : size - 1;
  const auto clamped = [&](Int bound) {
    return std::clamp(bound < 0 ? bound + size : bound, lowest, highest);
  };
  const Int kUnset = Int{1} << 100;
  TANDEM_TRY(const Int first, int_or(&start, kUnset));
  TANDEM_TRY(const Int last, int_or(&stop, kUnset));
  picks.start = first == kUnset ? (forward ? 0 : size - 1) : clamped(first);
  const Int end = last == kUnset ? (forward ? size : -1) : clamped(last);
  const Int span = forward ? end - picks.start : picks.start - end;
  const Int stride =
      std::min<Int>(forward ? picks.step : -std::max(picks.step, -(Int{1} << 100)), Int{1} << 100);
  picks.count = span <= 0 ? 0 : (span - 1) / stride + 1;
  return picks;
}

Result<Value> slice_text(Budget& budget, const StringData& text, const Value& start,
                         const Value& stop, const Value& step) {
  TANDEM_TRY_STATUS(budget.spend_reading(2 * text.text.size()));
  const auto size = static_cast<Int>(num_code_points(text.text));
  TANDEM_TRY(const Picks picks, picks_of(size, start, stop, step));
  if (picks.step == 1) {
    const std::size_t from = byte_offset(text.text, picks.start);
    const auto rest = std::string_view(text.text).substr(from);
    return make_string(budget, std::string(rest.substr(0, byte_offset(rest, picks.count))),
                       text.safe);
  }
  TANDEM_TRY_STATUS(budget.allocate(text.text.size(), sizeof(std::string_view)));
  const auto characters = code_points(text.text);
  std::string part;
  for (Int i = 0; i < picks.count; ++i) {
    part += characters[static_cast<std::size_t>(picks.start + i * picks.step)];
  }
  return make_string(budget, std::move(part), text.safe);
}

}  // namespace

Result<Value> get_attribute(Budget& budget, const Value& value, std::string_view name) {
  if (value.is_undefined()) return undefined_error(value);
  TANDEM_TRY(auto found, find_attribute(budget, value, name));
  if (found) return std::move(*found);
  if (const auto* dict = value.as_dict()) {
    if (const Value* item = dict->find(name)) return *item;
  }
  return missing_attribute(value, name);
}

Result<Value> get_item(Budget& budget, const Value& value, const Value& key) {
  if (value.is_undefined()) return undefined_error(value);
  TANDEM_TRY(auto item, find_item(budget, value, key));
  if (item) return std::move(*item);
  if (const auto* name = key.as_string()) {
    TANDEM_TRY(auto attribute, find_attribute(budget, value, name->text));
    return attribute ? std::move(*attribute) : missing_attribute(value, name->text);
  }
  return make_undefined(described(value) + " has no such element");
}

Result<Value> get_slice(Budget& budget, const Value& value, const Value& start, const Value& stop,
                        const Value& step) {
  if (value.is_undefined()) return undefined_error(value);
  if (const auto* text = value.as_string()) return slice_text(budget, *text, start, stop, step);
  const auto* sequence = value.as_sequence();
  if (!sequence || sequence->kind >= SequenceKind::kKeys) {
    return make_undefined("'" + described(value) + "' cannot be sliced");
  }
  TANDEM_TRY(const Picks picks,
             picks_of(static_cast<Int>(sequence->items.size()), start, stop, step));
  TANDEM_TRY_STATUS(budget.allocate(static_cast<std::size_t>(picks.count), sizeof(Value)));
  std::vector<Value> items;
  for (Int i = 0; i < picks.count; ++i) {
    items.push_back(sequence->items[static_cast<std::size_t>(picks.start + i * picks.step)]);
  }
  return make_sequence(budget, std::move(items), sequence->kind);
}

}  // namespace tandem::jinja
