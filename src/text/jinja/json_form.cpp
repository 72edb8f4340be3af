#include "text/jinja/json_form.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "text/jinja/py_string.h"

namespace tandem::jinja {
namespace {

void append_unicode_escape(std::string& out, char32_t c) {
  if (c >= 0x10000) {  // a pair of surrogates
    append_unicode_escape(out, 0xD800 + ((c - 0x10000) >> 10));
    c = 0xDC00 + ((c - 0x10000) & 0x3FF);
  }
  char buffer[8];
  std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(c));
  out += buffer;
}

std::string quoted(std::string_view text, bool ensure_ascii) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = code_point_bytes(text, at);
    const auto character = text.substr(at, length);
    at += length;
    switch (const char c = character[0]) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 ||
            (ensure_ascii && static_cast<unsigned char>(c) >= 0x7F)) {
          append_unicode_escape(out, code_point_of(character));
        } else {
          out += character;
        }
    }
  }
  return out += '"';
}

std::string json_float(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return float_to_text(number);
}

std::optional<std::string> json_scalar(const Value& value) {
  if (value.is_none()) return "null";
  if (const auto* flag = value.get_if<bool>()) return *flag ? "true" : "false";
  if (const auto* number = value.get_if<Int>()) return int_to_text(*number);
  if (const auto* number = value.get_if<double>()) return json_float(*number);
  return std::nullopt;
}

class Writer {
 public:
  Writer(Budget& budget, const JsonStyle& style) : budget_(budget), style_(style) {}

  Status write(const Value& value) {
    TANDEM_TRY_STATUS(budget_.spend_steps());
    if (const auto* text = value.as_string())
      return append(quoted(text->text, style_.ensure_ascii));
    if (const auto scalar = json_scalar(value)) return append(*scalar);
    if (const auto* dict = value.as_dict()) return write_dict(*dict);
    const auto* sequence = value.as_sequence();
    const bool is_list = sequence && (sequence->kind == SequenceKind::kList ||
                                      sequence->kind == SequenceKind::kTuple);
    if (is_list) return write_list(sequence->items);
    if (value.as_iterator()) {
      TANDEM_TRY(const auto items, elements_of(budget_, value));
      return write_list(items);
    }
    return render_error("Object of type " + std::string(type_name(value)) +
                        " is not JSON serializable");
  }

  std::string take() { return std::move(out_); }

 private:
  Status append(std::string_view text) {
    TANDEM_TRY_STATUS(budget_.allocate(text.size()));
    out_ += text;
    return {};
  }

  Status new_line() {
    if (!style_.indent) return {};
    TANDEM_TRY_STATUS(append("\n"));
    for (int i = 0; i < level_; ++i) TANDEM_TRY_STATUS(append(*style_.indent));
    return {};
  }

  Status write_list(const std::vector<Value>& items) {
    if (items.empty()) return append("[]");
    TANDEM_TRY_STATUS(append("["));
    ++level_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) TANDEM_TRY_STATUS(append(style_.item_separator));
      TANDEM_TRY_STATUS(new_line());
      TANDEM_TRY_STATUS(write(items[i]));
    }
    --level_;
    TANDEM_TRY_STATUS(new_line());
    return append("]");
  }

  Result<std::string> key_text(const Value& key) {
    if (const auto* text = key.as_string()) return text->text;
    if (const auto scalar = json_scalar(key)) return *scalar;
    return render_error("keys must be str, int, float, bool or None, not " +
                        std::string(type_name(key)));
  }

  Status write_dict(const DictData& dict) {
    if (dict.entries.empty()) return append("{}");
    std::vector<std::pair<std::string, const Value*>> entries;
    for (const auto& [key, value] : dict.entries) {
      TANDEM_TRY(std::string name, key_text(key));
      TANDEM_TRY_STATUS(budget_.allocate(name.size() + sizeof(entries[0])));
      entries.emplace_back(std::move(name), &value);
    }
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    TANDEM_TRY_STATUS(append("{"));
    ++level_;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) TANDEM_TRY_STATUS(append(style_.item_separator));
      TANDEM_TRY_STATUS(new_line());
      TANDEM_TRY_STATUS(append(quoted(entries[i].first, style_.ensure_ascii)));
      TANDEM_TRY_STATUS(append(style_.key_separator));
      TANDEM_TRY_STATUS(write(*entries[i].second));
    }
    --level_;
    TANDEM_TRY_STATUS(new_line());
    return append("}");
  }

  Budget& budget_;
  const JsonStyle& style_;
  int level_ = 0;
  std::string out_;
};

Result<Value> convert(Budget& budget, const nlohmann::ordered_json& json, int depth) {
  TANDEM_TRY_STATUS(budget.spend_steps());
  TANDEM_TRY_STATUS(budget.check_value_depth(depth));
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(Int{json.get<std::int64_t>()});
    case nlohmann::ordered_json::value_t::number_unsigned:
      return Value(Int{json.get<std::uint64_t>()});
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return make_string(budget, json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& element : json) {
        TANDEM_TRY(Value item, convert(budget, element, depth + 1));
        items.push_back(std::move(item));
      }
      return make_sequence(budget, std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, element] : json.items()) {
        TANDEM_TRY(Value name, make_string(budget, key));
        TANDEM_TRY(Value value, convert(budget, element, depth + 1));
        entries.emplace_back(std::move(name), std::move(value));
      }
      return make_dict(budget, std::move(entries));
    }
    default:
      return Value(None{});
  }
}

}  // namespace

Result<std::string> to_json(Budget& budget, const Value& value, const JsonStyle& style) {
  Writer writer(budget, style);
  TANDEM_TRY_STATUS(writer.write(value));
  return writer.take();
}

Result<Value> from_json(Budget& budget, const nlohmann::ordered_json& json) {
  return convert(budget, json, 1);
}

}  // namespace tandem::jinja
