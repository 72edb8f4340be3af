#include "text/jinja/functions.h"

#include <ctime>

#include "text/jinja/arguments.h"

namespace tandem::jinja {
namespace {

constexpr Int kMaxRange = 100'000;  // jinja2.sandbox.MAX_RANGE
constexpr Int kMaxBound = Int{1} << 62;
constexpr std::size_t kMaxTimeBytes = 4096;

Result<Value> range(Interpreter& interpreter, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("range", {"start", "stop", "step"}, arguments, 1));
  TANDEM_TRY(const Int first, int_or(bound[0], 0));
  TANDEM_TRY(const Int second, int_or(bound[1], 0));
  TANDEM_TRY(const Int step, int_or(bound[2], 1));
  for (const Int number : {first, second, step}) {
    if (number > kMaxBound || number < -kMaxBound) return render_error("range() out of bounds");
  }
  if (step == 0) return render_error("range() arg 3 must not be zero");
  const double start = bound[1] ? static_cast<double>(first) : 0.0;
  const double stop = static_cast<double>(bound[1] ? second : first);
  const double length = (stop - start) / static_cast<double>(step);
  if (length > static_cast<double>(kMaxRange)) {
    return render_error("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  }
  const Int end = bound[1] ? second : first;
  std::vector<Value> items;
  for (Int i = bound[1] ? first : 0; step > 0 ? i < end : i > end; i += step) {
    TANDEM_TRY_STATUS(interpreter.budget().spend_steps());
    items.push_back(Value(i));
  }
  return make_sequence(interpreter.budget(), std::move(items), SequenceKind::kRange);
}

// The pairs of dict(x, name=value, ...), for dict and namespace.
Result<std::vector<std::pair<Value, Value>>> pairs_of(Interpreter& interpreter,
                                                      const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> pairs;
  for (const Value& positional : arguments.positional) {
    if (const auto* dict = positional.as_dict()) {
      TANDEM_TRY_STATUS(interpreter.budget().allocate(dict->entries.size(), 2 * sizeof(Value)));
      pairs.insert(pairs.end(), dict->entries.begin(), dict->entries.end());
      continue;
    }
    TANDEM_TRY(const auto items, elements_of(interpreter.budget(), positional));
    for (const Value& item : items) {
      TANDEM_TRY(auto pair, elements_of(interpreter.budget(), item));
      if (pair.size() != 2) return render_error("dictionary update sequence element is no pair");
      pairs.emplace_back(std::move(pair[0]), std::move(pair[1]));
    }
  }
  for (const auto& [name, value] : arguments.named) pairs.emplace_back(make_text(name), value);
  return pairs;
}

Result<Value> dict_function(Interpreter& interpreter, const Arguments& arguments) {
  TANDEM_TRY(auto pairs, pairs_of(interpreter, arguments));
  return make_dict(interpreter.budget(), std::move(pairs));
}

Result<Value> namespace_function(Interpreter& interpreter, const Arguments& arguments) {
  TANDEM_TRY(auto pairs, pairs_of(interpreter, arguments));
  TANDEM_TRY(NamespaceData * space, interpreter.new_namespace());
  for (auto& [name, value] : pairs) {
    const auto* text = name.as_string();
    if (!text) return render_error("a namespace's names must be strings");
    TANDEM_TRY_STATUS(
        interpreter.budget().spend_steps(1 + static_cast<std::int64_t>(space->entries.size() / 8)));
    space->set(text->text, std::move(value));
  }
  return Value(space);
}

Result<Value> raise_exception(Interpreter&, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("raise_exception", {"message"}, arguments, 1));
  const auto* message = bound[0]->as_string();
  return render_error(message ? message->text.substr(0, 2000) : "the template raised an exception");
}

Result<Value> strftime_now(Interpreter& interpreter, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("strftime_now", {"format"}, arguments, 1));
  TANDEM_TRY(const auto format, text_or_none(bound[0]));
  if (!format || format->empty()) return make_text("");
  const auto now = static_cast<std::time_t>(interpreter.now_unix_s());
  std::tm parts{};
  if (!localtime_r(&now, &parts)) return render_error("the time is out of range");
  std::string text(kMaxTimeBytes, '\0');
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  text.resize(std::strftime(text.data(), text.size(), format->c_str(), &parts));
#pragma GCC diagnostic pop
  return make_string(interpreter.budget(), std::move(text));
}

constexpr Function kFunctions[] = {{"range", range},
                                   {"dict", dict_function},
                                   {"namespace", namespace_function},
                                   {"raise_exception", raise_exception},
                                   {"strftime_now", strftime_now}};

}  // namespace

std::span<const Function> global_functions() {
  return kFunctions;
}

}  // namespace tandem::jinja
