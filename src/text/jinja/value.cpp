#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "text/jinja/py_string.h"

namespace tandem::jinja {
namespace {

constexpr std::size_t kIndexFrom = 8;  // smaller dicts are searched in order

template <typename T>
auto* shared_or_null(const Value& value) {
  const auto* pointer = value.get_if<std::shared_ptr<T>>();
  return pointer ? pointer->get() : nullptr;
}

int deepest(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth;
}

std::string number_key(double number) {
  // Whole floats equal ints and are written the same way.
  if (std::abs(number) < 1e18 && number == std::floor(number)) {
    return "n" + std::to_string(static_cast<long long>(number));
  }
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return "f" + bytes;
}

}  // namespace

const StringData* Value::as_string() const {
  return shared_or_null<const StringData>(*this);
}
const SequenceData* Value::as_sequence() const {
  return shared_or_null<const SequenceData>(*this);
}
const DictData* Value::as_dict() const {
  return shared_or_null<const DictData>(*this);
}
IteratorData* Value::as_iterator() const {
  return shared_or_null<IteratorData>(*this);
}

std::optional<Int> Value::as_int() const {
  if (const auto* number = get_if<Int>()) return *number;
  if (const auto* flag = get_if<bool>()) return *flag ? 1 : 0;
  return std::nullopt;
}

std::optional<double> Value::as_number() const {
  if (const auto* number = get_if<double>()) return *number;
  if (const auto whole = as_int()) return static_cast<double>(*whole);
  return std::nullopt;
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (const auto number = as_number()) return *number != 0.0;
  if (const auto* text = as_string()) return !text->text.empty();
  if (const auto* sequence = as_sequence()) return !sequence->items.empty();
  if (const auto* dict = as_dict()) return !dict->entries.empty();
  return true;
}

int Value::depth() const {
  if (const auto* sequence = as_sequence()) return sequence->depth;
  if (const auto* dict = as_dict()) return dict->depth;
  if (const auto* iterator = as_iterator()) return iterator->depth;
  if (const auto* method = shared_or_null<const MethodData>(*this)) {
    return method->receiver.depth() + 1;
  }
  if (const auto* loop = shared_or_null<LoopState>(*this)) return loop->value_depth + 1;
  return 0;
}

const Value* DictData::find(const Value& key) const {
  const auto wanted = hash_key(key);
  if (!wanted) return nullptr;
  if (const auto found = index.find(*wanted); found != index.end()) {
    return &entries[found->second].second;
  }
  if (entries.size() >= kIndexFrom) return nullptr;
  for (const auto& [name, value] : entries) {
    if (hash_key(name) == wanted) return &value;
  }
  return nullptr;
}

const Value* DictData::find(std::string_view key) const {
  if (entries.size() >= kIndexFrom) return find(make_text(std::string(key)));
  for (const auto& [name, value] : entries) {
    const auto* text = name.as_string();
    if (text && text->text == key) return &value;
  }
  return nullptr;
}

const Value* NamespaceData::find(std::string_view name) const {
  for (const auto& [key, value] : entries) {
    if (key == name) return &value;
  }
  return nullptr;
}

void NamespaceData::set(std::string_view name, Value value) {
  for (auto& [key, old] : entries) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  entries.emplace_back(name, std::move(value));
}

Value make_undefined(std::string why) {
  return Undefined{std::make_shared<const std::string>(std::move(why))};
}

Value make_text(std::string text, bool safe) {
  return std::make_shared<const StringData>(StringData{std::move(text), safe});
}

Result<Value> make_string(Budget& budget, std::string text, bool safe) {
  TANDEM_TRY_STATUS(budget.allocate(sizeof(StringData) + text.size()));
  return make_text(std::move(text), safe);
}

Result<Value> make_sequence(Budget& budget, std::vector<Value> items, SequenceKind kind) {
  TANDEM_TRY_STATUS(budget.allocate(items.size() + 2, sizeof(Value)));
  const int depth = deepest(items) + 1;
  TANDEM_TRY_STATUS(budget.check_value_depth(depth));
  return Value(std::make_shared<const SequenceData>(SequenceData{kind, std::move(items), depth}));
}

Result<Value> make_iterator(Budget& budget, std::vector<Value> items) {
  TANDEM_TRY_STATUS(budget.allocate(items.size() + 2, sizeof(Value)));
  const int depth = deepest(items) + 1;
  TANDEM_TRY_STATUS(budget.check_value_depth(depth));
  return Value(std::make_shared<IteratorData>(IteratorData{std::move(items), 0, depth}));
}

Result<Value> make_dict(Budget& budget, std::vector<std::pair<Value, Value>> entries) {
  TANDEM_TRY_STATUS(budget.allocate(entries.size() + 2, 4 * sizeof(Value)));
  DictData dict;
  for (auto& [key, value] : entries) {
    auto name = hash_key(key);
    if (!name) return render_error("unhashable type: '" + std::string(type_name(key)) + "'");
    TANDEM_TRY_STATUS(budget.allocate(name->size()));
    const auto [place, is_new] = dict.index.try_emplace(std::move(*name), dict.entries.size());
    dict.depth = std::max({dict.depth, value.depth() + 1, key.depth() + 1});
    if (is_new) {
      dict.entries.emplace_back(std::move(key), std::move(value));
    } else {
      dict.entries[place->second].second = std::move(value);
    }
  }
  if (dict.entries.size() < kIndexFrom) dict.index = {};
  TANDEM_TRY_STATUS(budget.check_value_depth(dict.depth));
  return Value(std::make_shared<const DictData>(std::move(dict)));
}

std::string_view type_name(const Value& value) {
  static constexpr std::string_view kNames[] = {
      "Undefined", "NoneType",  "bool",   "int",         "float",     "str",   "list",
      "dict",      "generator", "method", "LoopContext", "Namespace", "Macro", "function"};
  static_assert(std::size(kNames) == std::variant_size_v<Value::Data>);
  if (const auto* sequence = value.as_sequence()) {
    static constexpr std::string_view kSequences[] = {"list",      "tuple",       "range",
                                                      "dict_keys", "dict_values", "dict_items"};
    return kSequences[static_cast<int>(sequence->kind)];
  }
  return kNames[value.data().index()];
}

std::optional<std::string> hash_key(const Value& key) {
  if (const auto* text = key.as_string()) return "s" + text->text;
  if (const auto number = key.as_number()) {
    if (const auto whole = key.as_int()) return "n" + int_to_text(*whole);
    return number_key(*number);
  }
  if (key.is_none()) return "0";
  if (key.is_undefined()) return "u";
  const auto* tuple = key.as_sequence();
  // Tuples of tuples could share parts and so be exponentially long when written out.
  if (!tuple || tuple->kind != SequenceKind::kTuple || tuple->depth > 1) return std::nullopt;
  std::string all = "t";
  for (const Value& item : tuple->items) {
    const auto part = hash_key(item);
    if (!part) return std::nullopt;
    all += std::to_string(part->size()) + ":" + *part;
  }
  return all;
}

Result<std::vector<Value>> elements_of(Budget& budget, const Value& value) {
  std::vector<Value> items;
  if (value.is_undefined()) return items;
  if (const auto* sequence = value.as_sequence()) {
    TANDEM_TRY_STATUS(budget.allocate(sequence->items.size(), sizeof(Value)));
    return sequence->items;
  }
  if (const auto* dict = value.as_dict()) {
    TANDEM_TRY_STATUS(budget.allocate(dict->entries.size(), sizeof(Value)));
    for (const auto& entry : dict->entries) items.push_back(entry.first);
    return items;
  }
  if (auto* iterator = value.as_iterator()) {
    const std::size_t start = std::exchange(iterator->next, iterator->items.size());
    TANDEM_TRY_STATUS(budget.allocate(iterator->items.size() - start, sizeof(Value)));
    items.assign(iterator->items.begin() + static_cast<std::ptrdiff_t>(start),
                 iterator->items.end());
    return items;
  }
  if (const auto* text = value.as_string()) {
    TANDEM_TRY_STATUS(budget.allocate(text->text.size(), sizeof(Value) + sizeof(StringData)));
    for (const auto character : code_points(text->text)) {
      items.push_back(make_text(std::string(character)));
    }
    return items;
  }
  return render_error("'" + std::string(type_name(value)) + "' object is not iterable");
}

Result<std::size_t> length_of(Budget& budget, const Value& value) {
  if (value.is_undefined()) return std::size_t{0};
  if (const auto* sequence = value.as_sequence()) return sequence->items.size();
  if (const auto* dict = value.as_dict()) return dict->entries.size();
  if (const auto* loop = shared_or_null<LoopState>(value)) return loop->items.size();
  if (const auto* text = value.as_string()) {
    TANDEM_TRY_STATUS(budget.spend_reading(text->text.size()));
    return num_code_points(text->text);
  }
  return render_error("object of type '" + std::string(type_name(value)) + "' has no len()");
}

}  // namespace tandem::jinja
