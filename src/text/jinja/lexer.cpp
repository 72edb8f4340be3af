#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "text/jinja/py_string.h"
#include "text/jinja/string_literal.h"

namespace tandem::jinja {
namespace {

constexpr std::string_view kOperators[] = {"**", "//", "==", "!=", "<=", ">=", "+", "-", "*",
                                           "/",  "%",  "~",  "<",  ">",  "=",  ".", ":", "|",
                                           ",",  ";",  "(",  ")",  "[",  "]",  "{", "}"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Line ends become \n and one at the very end is dropped.
std::string normalised(std::string_view source) {
  std::string result;
  result.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      result += source[i];
    } else {
      result += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (result.ends_with('\n')) result.pop_back();
  return result;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalised(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) TANDEM_TRY_STATUS(read_text_and_tag());
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }

  void advance(std::size_t bytes) {
    line_ += static_cast<int>(std::count(source_.data() + at_, source_.data() + at_ + bytes, '\n'));
    at_ += bytes;
  }
  void skip_space() {
    const auto after = strip(rest(), true, false);
    advance(rest().size() - after.size());
  }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  std::size_t find_tag(std::size_t from) const {
    for (std::size_t at = source_.find('{', from); at != std::string::npos;
         at = source_.find('{', at + 1)) {
      const char next = at + 1 < source_.size() ? source_[at + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return at;
    }
    return std::string::npos;
  }

  // What is left of the text before a tag whose sign ('-', '+' or none) is given.
  std::string_view cut_before_tag(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') return strip(text, false, true);
    if (sign == '+' || is_variable) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_start == 0 && !line_starting_) return text;
    const bool blank = strip(text.substr(line_start), true, false).empty();
    return blank ? text.substr(0, line_start) : text;
  }

  void add_text(std::string_view text) {
    if (!text.empty()) add(TokenKind::kText, std::string(text));
  }

  Status read_text_and_tag() {
    const std::size_t tag = find_tag(at_);
    if (tag == std::string::npos) {
      add_text(rest());
      advance(rest().size());
      return {};
    }
    const char type = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool signed_tag = sign == '-' || sign == '+';
    const auto text = std::string_view(source_).substr(at_, tag - at_);
    add_text(cut_before_tag(text, signed_tag ? sign : '\0', type == '{'));
    advance(tag - at_ + 2 + (signed_tag ? 1 : 0));
    line_starting_ = false;
    if (type == '#') return skip_comment();
    if (type == '%' && starts_raw()) return read_raw();
    return read_tag(type == '{');
  }

  // Steps over a tag's end and the white space that it swallows. at_ stands on it.
  void end_tag(std::string_view end, bool is_variable) {
    const bool strips = peek() == '-';
    advance(end.size() + (strips || peek() == '+' ? 1 : 0));
    if (strips) {
      const std::size_t before = at_;
      skip_space();
      line_starting_ = at_ > before && source_[at_ - 1] == '\n';
    } else if (!is_variable && peek() == '\n' && source_[at_ - end.size() - 1] != '+') {
      advance(1);
      line_starting_ = true;
    }
  }

  bool at_end(std::string_view end) const {
    const bool has_sign = peek() == '-' || (peek() == '+' && end != "}}");
    return rest().substr(has_sign ? 1 : 0).starts_with(end);
  }

  Status skip_comment() {
    const int start_line = line_;
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return syntax_error(start_line, "missing end of comment tag");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    advance(end - at_ - (sign == '-' || sign == '+' ? 1 : 0));
    end_tag("#}", false);
    return {};
  }

  bool starts_raw() const {
    const auto word = strip(rest(), true, false);
    if (!word.starts_with("raw")) return false;
    const auto after = strip(word.substr(3), true, false);
    return after.starts_with("%}") || after.starts_with("-%}");
  }

  Status read_raw() {
    const int start_line = line_;
    skip_space();
    advance(3);
    skip_space();
    if (peek() == '-') {
      end_tag("%}", false);
    } else {
      advance(2);  // the newline after {% raw %} stays
    }
    for (std::size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 1)) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      const bool has_sign = sign == '-' || sign == '+';
      const auto word =
          strip(std::string_view(source_).substr(tag + (has_sign ? 3 : 2)), true, false);
      if (!word.starts_with("endraw")) continue;
      const auto after = strip(word.substr(6), true, false);
      const bool closes =
          after.starts_with("%}") || after.starts_with("-%}") || after.starts_with("+%}");
      if (!closes) continue;
      add_text(cut_before_tag(std::string_view(source_).substr(at_, tag - at_),
                              has_sign ? sign : '\0', false));
      advance(source_.size() - after.size() - at_);
      end_tag("%}", false);
      return {};
    }
    return syntax_error(start_line, "missing end of raw directive");
  }

  Status read_tag(bool is_variable) {
    const std::string_view end = is_variable ? "}}" : "%}";
    add(is_variable ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "");
    std::string open;  // brackets inside of which an end does not count
    while (true) {
      skip_space();
      if (at_ >= source_.size()) {
        return syntax_error(line_, "unexpected end of template", std::string(end));
      }
      if (open.empty() && at_end(end)) {
        add(is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, std::string(end));
        end_tag(end, is_variable);
        return {};
      }
      TANDEM_TRY_STATUS(read_token(open));
    }
  }

  Status read_token(std::string& open) {
    const char c = peek();
    if (c == '"' || c == '\'') return read_string(c);
    if (is_digit(c)) return read_number();
    if (is_name_start(c)) {
      std::size_t length = 1;
      while (is_name_start(peek(length)) || is_digit(peek(length))) ++length;
      add(TokenKind::kName, source_.substr(at_, length));
      advance(length);
      return {};
    }
    return read_operator(open);
  }

  Status read_operator(std::string& open) {
    const auto found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                    [&](auto text) { return rest().starts_with(text); });
    if (found == std::end(kOperators)) {
      return syntax_error(line_, "unexpected character in a tag", "", std::string(1, peek()));
    }
    const char c = found->front();
    if (c == '(' || c == '[' || c == '{') {
      open += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) {
        return syntax_error(line_, "unexpected closing bracket",
                            open.empty() ? "" : std::string(1, open.back()), std::string(1, c));
      }
      open.pop_back();
    }
    add(TokenKind::kOperator, std::string(*found));
    advance(found->size());
    return {};
  }

  Status read_string(char quote) {
    std::size_t length = 1;
    while (peek(length) != quote) {
      if (at_ + length >= source_.size()) return syntax_error(line_, "unterminated string");
      length += peek(length) == '\\' ? 2 : 1;
    }
    if (at_ + length >= source_.size()) return syntax_error(line_, "unterminated string");
    auto text = unescape_literal(std::string_view(source_).substr(at_ + 1, length - 1));
    if (!text.ok()) return std::move(text).error().at("line " + std::to_string(line_));
    add(TokenKind::kString, std::move(text).value());
    advance(length + 1);
    return {};
  }

  // Digits in groups that single underscores may part.
  std::size_t digits_from(std::size_t ahead) const {
    std::size_t length = 0;
    while (is_digit(peek(ahead + length)) ||
           (length > 0 && peek(ahead + length) == '_' && is_digit(peek(ahead + length + 1)))) {
      ++length;
    }
    return length;
  }

  std::size_t exponent_from(std::size_t ahead) const {
    if ((peek(ahead) | 32) != 'e') return 0;
    const std::size_t sign = peek(ahead + 1) == '+' || peek(ahead + 1) == '-' ? 1 : 0;
    const std::size_t digits = digits_from(ahead + 1 + sign);
    return digits == 0 ? 0 : 1 + sign + digits;
  }

  Status read_number() {
    std::size_t length = digits_from(0);
    const char marker = static_cast<char>(peek(1) | 32);
    if (peek() == '0' && (marker == 'x' || marker == 'o' || marker == 'b')) {
      length = 2;
      while (is_digit(peek(length)) || is_name_start(peek(length))) ++length;
    } else {
      // As in jinja2, `x.1.2` holds no float: a number after a dot is an index.
      const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
      const std::size_t fraction = !after_dot && peek(length) == '.' ? digits_from(length + 1) : 0;
      const std::size_t whole = length + (fraction > 0 ? 1 + fraction : 0);
      const std::size_t exponent = after_dot ? 0 : exponent_from(whole);
      if (fraction > 0 || exponent > 0) return add_float(whole + exponent);
    }
    const auto number = text_to_int(std::string_view(source_).substr(at_, length), 0);
    if (!number) {
      return syntax_error(line_, "not an integer within range", "",
                          source_.substr(at_, std::min<std::size_t>(length, 40)));
    }
    add(TokenKind::kInteger, source_.substr(at_, length));
    tokens_.back().integer = *number;
    advance(length);
    return {};
  }

  Status add_float(std::size_t length) {
    std::string digits = source_.substr(at_, length);
    std::erase(digits, '_');
    add(TokenKind::kFloat, digits);
    const auto end = digits.data() + digits.size();
    if (std::from_chars(digits.data(), end, tokens_.back().number).ec != std::errc()) {
      return syntax_error(line_, "float out of range", "", digits.substr(0, 40));
    }
    advance(length);
    return {};
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last tag (or nothing) ended a line
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(source).run();
}

Error syntax_error(int line, std::string what, std::string expected, std::string got) {
  return malformed("line " + std::to_string(line), std::move(what), std::move(expected),
                   std::move(got));
}

}  // namespace tandem::jinja
