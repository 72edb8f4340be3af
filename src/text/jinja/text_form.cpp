#include "text/jinja/text_form.h"

#include <cstdio>

#include "text/jinja/py_string.h"

namespace tandem::jinja {
namespace {

// str.isprintable() of one character beyond ASCII, but for code points without a meaning yet.
bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c != 0x7F;
  if (c < 0xA1 || c == 0xAD || (is_space(c) && c != 0x20)) return false;
  return !(c >= 0x200B && c <= 0x200F) && !(c >= 0x202A && c <= 0x202E) &&
         !(c >= 0x2060 && c <= 0x206F) && !(c >= 0xD800 && c <= 0xF8FF) && c != 0xFEFF &&
         !(c >= 0xFFF0 && c <= 0xFFFB) && c < 0xE0000;
}

void append_escape(std::string& out, char32_t c) {
  char buffer[16];
  const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(buffer, sizeof buffer, format, static_cast<unsigned>(c));
  out += buffer;
}

std::string repr_of_text(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const auto character : code_points(text)) {
    const char c = character.size() == 1 ? character[0] : '\0';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\\' || c == quote) {
      out += '\\';
      out += c;
    } else if (const char32_t code_point = code_point_of(character); is_printable(code_point)) {
      out += character;
    } else {
      append_escape(out, code_point);
    }
  }
  return out += quote;
}

class Writer {
 public:
  explicit Writer(Budget& budget) : budget_(budget) {}

  Status write(const Value& value) {
    TANDEM_TRY_STATUS(budget_.spend_steps());
    if (const auto* sequence = value.as_sequence()) return write_sequence(*sequence);
    if (const auto* dict = value.as_dict()) return write_dict(*dict);
    return append(scalar(value));
  }

  std::string take() { return std::move(out_); }

 private:
  Status append(std::string_view text) {
    TANDEM_TRY_STATUS(budget_.allocate(text.size()));
    out_ += text;
    return {};
  }

  static std::string scalar(const Value& value) {
    if (const auto* text = value.as_string()) {
      const std::string quoted = repr_of_text(text->text);
      return text->safe ? "Markup(" + quoted + ")" : quoted;
    }
    if (value.is_none()) return "None";
    if (const auto* flag = value.get_if<bool>()) return *flag ? "True" : "False";
    if (const auto* number = value.get_if<Int>()) return int_to_text(*number);
    if (const auto* number = value.get_if<double>()) return float_to_text(*number);
    if (value.is_undefined()) return "Undefined";
    return "<" + std::string(type_name(value)) + ">";
  }

  Status write_sequence(const SequenceData& sequence) {
    static constexpr std::string_view kOpen[] = {
        "[", "(", "range", "dict_keys([", "dict_values([", "dict_items(["};
    static constexpr std::string_view kClose[] = {"]", ")", "", "])", "])", "])"};
    const auto kind = static_cast<std::size_t>(sequence.kind);
    if (sequence.kind == SequenceKind::kRange) return write_range(sequence);
    TANDEM_TRY_STATUS(append(kOpen[kind]));
    for (std::size_t i = 0; i < sequence.items.size(); ++i) {
      if (i > 0) TANDEM_TRY_STATUS(append(", "));
      TANDEM_TRY_STATUS(write(sequence.items[i]));
    }
    const bool lone = sequence.kind == SequenceKind::kTuple && sequence.items.size() == 1;
    if (lone) TANDEM_TRY_STATUS(append(","));
    return append(kClose[kind]);
  }

  // A range keeps only its elements: an empty one prints as range(0, 0).
  Status write_range(const SequenceData& range) {
    const auto at = [&](std::size_t i) { return *range.items[i].as_int(); };
    const Int start = range.items.empty() ? 0 : at(0);
    const Int step = range.items.size() < 2 ? 1 : at(1) - start;
    const Int stop = range.items.empty() ? 0 : at(range.items.size() - 1) + step;
    TANDEM_TRY_STATUS(append("range(" + int_to_text(start) + ", " + int_to_text(stop)));
    return append(step == 1 ? ")" : ", " + int_to_text(step) + ")");
  }

  Status write_dict(const DictData& dict) {
    TANDEM_TRY_STATUS(append("{"));
    for (std::size_t i = 0; i < dict.entries.size(); ++i) {
      if (i > 0) TANDEM_TRY_STATUS(append(", "));
      TANDEM_TRY_STATUS(write(dict.entries[i].first));
      TANDEM_TRY_STATUS(append(": "));
      TANDEM_TRY_STATUS(write(dict.entries[i].second));
    }
    return append("}");
  }

  Budget& budget_;
  std::string out_;
};

}  // namespace

Result<std::string> to_text(Budget& budget, const Value& value) {
  if (value.is_undefined()) return std::string();
  if (const auto* text = value.as_string()) {
    TANDEM_TRY_STATUS(budget.allocate(text->text.size()));
    return text->text;
  }
  return repr_of(budget, value);
}

Result<std::string> repr_of(Budget& budget, const Value& value) {
  Writer writer(budget);
  TANDEM_TRY_STATUS(writer.write(value));
  return writer.take();
}

}  // namespace tandem::jinja
