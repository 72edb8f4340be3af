#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/budget.h"

namespace tandem::jinja {

// Wide enough for every integer that JSON brings (signed and unsigned 64 bits). Overflow of this
// is an Error, where Python would go on.
__extension__ using Int = __int128;

class Value;
struct Macro;
struct LoopState;
struct NamespaceData;
struct Function;

struct None {
  bool operator==(const None&) const = default;
};

// What a name or attribute that does not exist yields: prints as nothing, counts as false and
// empty, and fails with `why` when used for anything else.
struct Undefined {
  std::shared_ptr<const std::string> why;
};

struct StringData {
  std::string text;   // UTF-8; indexes and lengths count code points, as in Python
  bool safe = false;  // markupsafe.Markup: adding a plain string to it escapes that for HTML
};

enum class SequenceKind { kList, kTuple, kRange, kKeys, kValues, kItems };

struct SequenceData {
  SequenceKind kind = SequenceKind::kList;
  std::vector<Value> items;
  int depth = 1;
};

// Keeps the order of insertion. Keys are strings, numbers, bools, None or tuples of these.
struct DictData {
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string, std::size_t> index;  // by hash_key() of the key
  int depth = 1;

  // Null where the key is absent.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

// What map(), select() and kin return: can be walked once.
struct IteratorData {
  std::vector<Value> items;
  std::size_t next = 0;
  int depth = 1;
};

struct MethodData;

// One value of a template, as Python's jinja2 sees it. Copying is cheap: containers are shared and
// immutable (but for namespaces), which is also what the immutable sandbox asks for. Pointers
// without ownership (Macro, NamespaceData, Function) belong to the Interpreter that made them.
class Value {
 public:
  using Data =
      std::variant<Undefined, None, bool, Int, double, std::shared_ptr<const StringData>,
                   std::shared_ptr<const SequenceData>, std::shared_ptr<const DictData>,
                   std::shared_ptr<IteratorData>, std::shared_ptr<const MethodData>,
                   std::shared_ptr<LoopState>, NamespaceData*, const Macro*, const Function*>;

  Value() = default;  // undefined, without a reason
  template <typename T>
  requires(std::is_constructible_v<Data, T&&> && !std::is_same_v<std::remove_cvref_t<T>, Value>)
      Value(T&& data)
      : data_(std::forward<T>(data)) {}  // NOLINT: implicit

  const Data& data() const { return data_; }
  template <typename T>
  const T* get_if() const {
    return std::get_if<T>(&data_);
  }

  bool is_undefined() const { return get_if<Undefined>() != nullptr; }
  bool is_none() const { return get_if<None>() != nullptr; }
  bool is_string() const { return get_if<std::shared_ptr<const StringData>>() != nullptr; }
  // Null where the value is of another type.
  const StringData* as_string() const;
  const SequenceData* as_sequence() const;
  const DictData* as_dict() const;
  IteratorData* as_iterator() const;
  // Of an int or, as in Python, a bool.
  std::optional<Int> as_int() const;
  std::optional<double> as_number() const;
  bool is_number() const { return as_number().has_value(); }

  // Python's bool().
  bool truthy() const;
  // 0 for scalars and strings; what holds values is one deeper than what it holds.
  int depth() const;

 private:
  Data data_;
};

// `receiver.name`, not yet called.
struct MethodData {
  Value receiver;
  std::string name;
};

struct NamespaceData {
  std::vector<std::pair<std::string, Value>> entries;

  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

struct LoopState {
  std::vector<Value> items;
  std::size_t index = 0;
  int nesting = 1;      // of recursive loops
  int value_depth = 0;  // the deepest of items
  std::vector<Value> last_changed;
  bool has_changed = false;
  const void* statement = nullptr;  // the recursive `for`, while it runs
  void* scope = nullptr;            // where it stands, while it runs
};

Value make_undefined(std::string why);
// Pays for nothing: for names and texts that are bounded by the template.
Value make_text(std::string text, bool safe = false);

// These pay for what they make.
Result<Value> make_string(Budget& budget, std::string text, bool safe = false);
Result<Value> make_sequence(Budget& budget, std::vector<Value> items,
                            SequenceKind kind = SequenceKind::kList);
Result<Value> make_iterator(Budget& budget, std::vector<Value> items);
// Later entries replace earlier ones of the same key, in the earlier one's place.
Result<Value> make_dict(Budget& budget, std::vector<std::pair<Value, Value>> entries);

// "str", "int", "dict", ...: Python's name of the type, for messages.
std::string_view type_name(const Value& value);

// A string equal for equal keys and for no others; nullopt where Python says "unhashable type".
std::optional<std::string> hash_key(const Value& key);

// All elements, as a `for` would see them: of a sequence, a dict's keys, a string's characters,
// nothing of an undefined, the rest of an iterator (which is used up).
Result<std::vector<Value>> elements_of(Budget& budget, const Value& value);

// Python's len(). Errors: the value has none.
Result<std::size_t> length_of(Budget& budget, const Value& value);

}  // namespace tandem::jinja
