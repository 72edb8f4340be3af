#include "text/tool_calls/json_call_reader.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace tandem {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}
bool names_call(std::string_view key) {
  return key == "name" || key == "tool_name";
}
bool names_arguments(std::string_view key) {
  return key == "arguments" || key == "parameters";
}

}  // namespace

std::string unescaped_json(std::string_view contents) {
  const auto parsed = nlohmann::json::parse("\"" + std::string(contents) + "\"", nullptr, false);
  return parsed.is_string() ? parsed.get<std::string>() : std::string(contents);
}

std::size_t JsonCallReader::read(std::string_view text) {
  std::size_t count = 0;
  while (count < text.size() && state_ == State::kReading) take(text[count++]);
  return count;
}

std::string JsonCallReader::take_arguments() {
  return std::exchange(arguments_, {});
}

void JsonCallReader::take(char c) {
  if (in_arguments_) return take_in_arguments(c);
  if (in_string_) return take_in_string(c);
  take_outside(c);
}

// Inside of the object or list that is the arguments: everything is passed on.
void JsonCallReader::take_in_arguments(char c) {
  arguments_ += c;
  if (in_string_) {
    if (is_escaped_) {
      is_escaped_ = false;
    } else if (c == '\\') {
      is_escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
    }
  } else if (c == '"') {
    in_string_ = true;
  } else if (c == '{' || c == '[') {
    ++arguments_level_;
  } else if ((c == '}' || c == ']') && --arguments_level_ == 0) {
    in_arguments_ = false;
    expect_ = Expect::kCommaOrEnd;
  }
}

void JsonCallReader::take_in_string(char c) {
  if (!is_escaped_ && c == '"') return end_string();
  if (at_call_level() || string_is_key_) string_ += c;
  is_escaped_ = !is_escaped_ && c == '\\';
}

void JsonCallReader::end_string() {
  in_string_ = false;
  const std::string text = unescaped_json(std::exchange(string_, {}));
  if (string_is_key_) {
    key_ = text;
    expect_ = Expect::kColon;
    return;
  }
  expect_ = Expect::kCommaOrEnd;
  if (!at_call_level()) return;
  if (names_call(key_)) name_ = text;
  if (names_arguments(key_)) {
    arguments_ += text;
    had_arguments_ = true;
  }
}

void JsonCallReader::start_value(char c) {
  if (c == '"') {
    in_string_ = true;
    string_is_key_ = false;
  } else if (at_call_level() && names_arguments(key_) && (c == '{' || c == '[')) {
    in_arguments_ = had_arguments_ = true;
    arguments_level_ = 1;
    arguments_ += c;
  } else if (c == '{') {
    ++level_;
    if (key_ == "function" && level_ == 2) call_level_ = 2;
    expect_ = Expect::kKeyOrEnd;
  } else if (c == '[' || c == '}' || c == ',' || c == ':') {
    // Calls have no lists but in their arguments.
    state_ = State::kFailed;
  } else {
    in_scalar_ = true;
    scalar_ = c;
  }
}

void JsonCallReader::close_object() {
  if (call_level_ == 2 && level_ == 2) call_level_ = 1;
  if (--level_ == 0) state_ = name_.empty() ? State::kFailed : State::kDone;
  expect_ = Expect::kCommaOrEnd;
}

void JsonCallReader::take_outside(char c) {
  if (in_scalar_) {
    const bool ends = is_blank(c) || c == ',' || c == '}';
    if (!ends) {
      scalar_ += c;
      return;
    }
    in_scalar_ = false;
    expect_ = Expect::kCommaOrEnd;
    if (at_call_level() && names_arguments(key_)) {
      arguments_ += scalar_ == "null" ? "{}" : scalar_;
      had_arguments_ = true;
    }
  }
  if (is_blank(c)) return;
  const auto expected = expect_;
  if (expected == Expect::kObject && c == '{') {
    level_ = 1;
    expect_ = Expect::kKeyOrEnd;
  } else if ((expected == Expect::kKeyOrEnd || expected == Expect::kKey) && c == '"') {
    in_string_ = true;
    string_is_key_ = true;
  } else if ((expected == Expect::kKeyOrEnd || expected == Expect::kCommaOrEnd) && c == '}') {
    close_object();
  } else if (expected == Expect::kColon && c == ':') {
    expect_ = Expect::kValue;
  } else if (expected == Expect::kValue) {
    start_value(c);
  } else if (expected == Expect::kCommaOrEnd && c == ',') {
    expect_ = Expect::kKey;
  } else {
    state_ = State::kFailed;
  }
}

}  // namespace tandem
