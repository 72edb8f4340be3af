#include "text/tool_calls/python_call.h"

#include <nlohmann/json.hpp>

namespace tandem {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::optional<PythonCall> run() {
    PythonCall call;
    call.tool = name();
    if (call.tool.empty() || !skip(".call(")) return std::nullopt;
    nlohmann::ordered_json arguments = nlohmann::ordered_json::object();
    for (bool first = true; !skip(")"); first = false) {
      if (!first && !skip(",")) return std::nullopt;
      skip_blanks();
      const std::string key = name();
      if (key.empty() || !skip("=")) return std::nullopt;
      auto value = this->value();
      if (!value) return std::nullopt;
      arguments[key] = std::move(*value);
      skip_blanks();
    }
    skip_blanks();
    if (!text_.empty()) return std::nullopt;
    call.arguments = arguments.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return call;
  }

 private:
  bool skip(std::string_view what) {
    if (!text_.starts_with(what)) return false;
    text_.remove_prefix(what.size());
    return true;
  }
  void skip_blanks() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n'))
      text_.remove_prefix(1);
  }
  std::string name() {
    std::size_t length = 0;
    while (length < text_.size() && is_name_character(text_[length])) ++length;
    std::string result(text_.substr(0, length));
    text_.remove_prefix(length);
    return result;
  }

  std::optional<nlohmann::ordered_json> value() {
    if (skip("True")) return true;
    if (skip("False")) return false;
    if (skip("None")) return nullptr;
    std::size_t length = 0;
    if (text_.starts_with('"')) {
      length = 1;
      while (length < text_.size() && text_[length] != '"') length += text_[length] == '\\' ? 2 : 1;
      ++length;
    } else {
      length = std::min(text_.find_first_of(",) \n"), text_.size());
    }
    if (length > text_.size()) return std::nullopt;
    auto parsed = nlohmann::ordered_json::parse(text_.substr(0, length), nullptr, false);
    if (parsed.is_discarded() || parsed.is_structured()) return std::nullopt;
    text_.remove_prefix(length);
    return parsed;
  }

  std::string_view text_;
};

}  // namespace

std::optional<PythonCall> parse_python_call(std::string_view text) {
  return Parser(text).run();
}

}  // namespace tandem
