// Methods of dict, list, tuple and loop.
#include <algorithm>

#include "text/jinja/arguments.h"
#include "text/jinja/attributes.h"
#include "text/jinja/operators.h"

namespace tandem::jinja {
namespace {

Result<Value> call_dict(Budget& budget, const Value& receiver, std::string_view name,
                        const Arguments& arguments) {
  const DictData& dict = *receiver.as_dict();
  if (name == "get") {
    TANDEM_TRY(const Bound bound, bind("get", {"key", "default"}, arguments, 1));
    if (!hash_key(*bound[0]))
      return render_error("unhashable type: '" + std::string(type_name(*bound[0])) + "'");
    if (const Value* found = dict.find(*bound[0])) return *found;
    return bound[1] ? *bound[1] : Value(None{});
  }
  TANDEM_TRY_STATUS(bind(name, {}, arguments));
  if (name == "copy") return receiver;
  TANDEM_TRY_STATUS(budget.allocate(dict.entries.size(), sizeof(Value)));
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries) {
    if (name == "keys") {
      items.push_back(key);
    } else if (name == "values") {
      items.push_back(value);
    } else {
      TANDEM_TRY(Value pair, make_sequence(budget, {key, value}, SequenceKind::kTuple));
      items.push_back(std::move(pair));
    }
  }
  const auto kind = name == "keys"     ? SequenceKind::kKeys
                    : name == "values" ? SequenceKind::kValues
                                       : SequenceKind::kItems;
  return make_sequence(budget, std::move(items), kind);
}

Result<Value> call_list(Budget& budget, const Value& receiver, std::string_view name,
                        const Arguments& arguments) {
  if (name == "copy") return receiver;
  TANDEM_TRY(const Bound bound, bind(name, {"value"}, arguments, 1));
  Int count = 0;
  const auto& items = receiver.as_sequence()->items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    TANDEM_TRY(const bool same, equals(budget, items[i], *bound[0]));
    if (same && name == "index") return Value(static_cast<Int>(i));
    count += same;
  }
  if (name == "index") return render_error("value is not in list");
  return Value(count);
}

Result<Value> call_loop_method(Budget& budget, LoopState& loop, std::string_view name,
                               const Arguments& arguments) {
  const auto& values = arguments.positional;
  if (name == "cycle") {
    if (values.empty()) return render_error("no items for cycling given");
    return values[loop.index % values.size()];
  }
  bool same = loop.has_changed && values.size() == loop.last_changed.size();
  for (std::size_t i = 0; same && i < values.size(); ++i) {
    TANDEM_TRY(same, equals(budget, values[i], loop.last_changed[i]));
  }
  // A loop that held itself would never be freed.
  const auto is_loop = [](const Value& v) {
    return v.get_if<std::shared_ptr<LoopState>>() ||
           v.get_if<std::shared_ptr<const MethodData>>() || v.depth() > 0;
  };
  if (std::any_of(values.begin(), values.end(), is_loop)) {
    return render_error("loop.changed() takes strings and numbers only");
  }
  loop.last_changed = values;
  loop.has_changed = true;
  return Value(!same);
}

}  // namespace

Result<Value> call_method(Interpreter& interpreter, const MethodData& method,
                          const Arguments& arguments) {
  Budget& budget = interpreter.budget();
  if (const auto* text = method.receiver.as_string()) {
    TANDEM_TRY_STATUS(budget.spend_reading(text->text.size()));
    return find_string_method(method.name)(interpreter, *text, arguments);
  }
  if (method.receiver.as_dict()) return call_dict(budget, method.receiver, method.name, arguments);
  if (const auto* loop = method.receiver.get_if<std::shared_ptr<LoopState>>()) {
    return call_loop_method(budget, **loop, method.name, arguments);
  }
  return call_list(budget, method.receiver, method.name, arguments);
}

}  // namespace tandem::jinja
