#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "text/jinja/value.h"

namespace tandem::jinja {

// How json.dumps writes. Without an indent all stands on one line.
struct JsonStyle {
  std::optional<std::string> indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
  bool ensure_ascii = false;
};

// json.dumps(). An iterator is written as a list (and used up), where Python refuses: templates
// made for llama.cpp rely on it. Errors: a value that JSON has no form for.
Result<std::string> to_json(Budget& budget, const Value& value, const JsonStyle& style);

// Keeps the order of keys. Errors: nested deeper than the budget's limits allow.
Result<Value> from_json(Budget& budget, const nlohmann::ordered_json& json);

}  // namespace tandem::jinja
