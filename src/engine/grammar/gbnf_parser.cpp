#include "engine/grammar/gbnf_parser.h"

#include <algorithm>
#include <unordered_map>

#include "engine/grammar/text_cursor.h"
#include "text/utf8.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxTextBytes = 1 << 20;
constexpr int kMaxDepth = 100;
constexpr std::int32_t kMaxRepetitions = 100'000;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfParser : TextCursor {
 public:
  explicit GbnfParser(std::string_view text) : TextCursor(text) {}

  Result<Grammar> run() {
    skip_space(true);
    while (at_ < text_.size()) TANDEM_TRY_STATUS(parse_rule());
    const auto root = rules_.find("root");
    if (root == rules_.end()) return invalid_argument("the grammar has no rule 'root'");
    return std::move(builder_).build(root->second);
  }

 private:
  void skip_space(bool lines_too) {
    while (at_ < text_.size()) {
      const char c = peek();
      if (c == '#') {
        while (at_ < text_.size() && peek() != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || (lines_too && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  Error fail(std::string what, std::string expected = {}) const {
    const auto before = text_.substr(0, at_);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
    Error error = invalid_argument(std::move(what), std::move(expected));
    error.where = "grammar, line " + std::to_string(line) + ", column " +
                  std::to_string(at_ - line_start + 1);
    return error;
  }

  std::int32_t rule_named(const std::string& name) {
    const auto found = rules_.find(name);
    if (found != rules_.end()) return found->second;
    return rules_[name] = builder_.declare(name);
  }

  std::string read_name() {
    const std::size_t start = at_;
    while (is_name_character(peek())) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

  Status parse_rule() {
    const std::string name = read_name();
    if (name.empty()) return fail("no rule", "a name");
    skip_space(false);
    if (!skip("::=")) return fail("no rule", "'::='");
    const std::int32_t rule = rule_named(name);
    if (!defined_.emplace(name, true).second) return fail("rule '" + name + "' is defined twice");
    skip_space(true);
    TANDEM_TRY(const GrammarExpr expr, parse_choice(false));
    TANDEM_TRY_STATUS(builder_.define(rule, expr));
    skip_space(false);
    if (at_ < text_.size() && peek() != '\n' && peek() != '\r')
      return fail("unexpected text", "the end of the line");
    skip_space(true);
    return {};
  }

  // Inside of parentheses lines may end anywhere.
  Result<GrammarExpr> parse_choice(bool nested) {
    if (++depth_ > kMaxDepth) return fail("groups are nested too deeply");
    std::vector<GrammarExpr> choices;
    do {
      skip_space(true);
      TANDEM_TRY(GrammarExpr choice, parse_sequence(nested));
      choices.push_back(std::move(choice));
      skip_space(nested);
      // A bar may also start the next line.
      if (!nested) skip_lines_before_bar();
    } while (skip("|"));
    --depth_;
    return choice_expr(std::move(choices));
  }

  void skip_lines_before_bar() {
    const std::size_t start = at_;
    skip_space(true);
    if (peek() != '|') at_ = start;
  }

  Result<GrammarExpr> parse_sequence(bool nested) {
    std::vector<GrammarExpr> parts;
    while (true) {
      skip_space(nested);
      const char c = peek();
      GrammarExpr part;
      if (c == '"') {
        TANDEM_TRY(part, parse_text());
      } else if (c == '[') {
        TANDEM_TRY(part, parse_class());
      } else if (skip(".")) {
        part = not_class_expr({});
      } else if (skip("(")) {
        TANDEM_TRY(part, parse_choice(true));
        skip_space(true);
        if (!skip(")")) return fail("an open group", "')'");
      } else if (is_name_character(c)) {
        part = rule_expr(rule_named(read_name()));
      } else {
        return sequence_expr(std::move(parts));
      }
      TANDEM_TRY(part, parse_repetition(std::move(part)));
      parts.push_back(std::move(part));
    }
  }

  Result<GrammarExpr> parse_repetition(GrammarExpr part) {
    if (skip("*")) return repeat_expr(std::move(part), 0);
    if (skip("+")) return repeat_expr(std::move(part), 1);
    if (skip("?")) return optional_expr(std::move(part));
    if (!skip("{")) return part;
    TANDEM_TRY(const std::int32_t min_count, parse_count());
    std::int32_t max_count = min_count;
    if (skip(",")) {
      skip_space(false);
      max_count = GrammarExpr::kUnbounded;
      if (peek() != '}') {
        TANDEM_TRY(max_count, parse_count());
      }
    }
    if (!skip("}")) return fail("an open repetition", "'}'");
    if (max_count < min_count) return fail("a repetition of at most fewer than at least");
    return repeat_expr(std::move(part), min_count, max_count);
  }

  Result<std::int32_t> parse_count() {
    skip_space(false);
    const auto count = read_number(kMaxRepetitions);
    if (!count) return fail("no count", "digits");
    if (*count > kMaxRepetitions) {
      return fail("too many repetitions", "at most " + std::to_string(kMaxRepetitions));
    }
    skip_space(false);
    return *count;
  }

  // One character, escapes resolved.
  Result<char32_t> parse_character() {
    if (at_ >= text_.size()) return fail("the grammar ends inside of a text or class");
    if (!skip("\\")) {
      if (const auto read = read_character()) return *read;
      return fail("invalid UTF-8");
    }
    const char c = peek();
    ++at_;
    switch (c) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case 'x':
        return parse_hex(2);
      case 'u':
        return parse_hex(4);
      case 'U':
        return parse_hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
      case '/':
        return static_cast<char32_t>(c);
      default:
        --at_;
        return fail("unknown escape");
    }
  }

  Result<char32_t> parse_hex(int num_digits) {
    const auto value = read_hex(num_digits);
    if (!value) return fail("a cut escape", std::to_string(num_digits) + " hexadecimal digits");
    if (*value > 0x10FFFF || (*value >= 0xD800 && *value < 0xE000)) return fail("not a character");
    return *value;
  }

  Result<GrammarExpr> parse_text() {
    skip("\"");
    std::string text;
    while (!skip("\"")) {
      if (peek() == '\n') return fail("a text does not end on its line");
      TANDEM_TRY(const char32_t character, parse_character());
      append_utf8(text, character);
    }
    return text_expr(std::move(text));
  }

  Result<GrammarExpr> parse_class() {
    skip("[");
    const bool negated = skip("^");
    CodePointRanges ranges;
    while (!skip("]")) {
      TANDEM_TRY(const char32_t first, parse_character());
      char32_t last = first;
      if (peek() == '-' && text_.substr(at_, 2) != "-]") {
        skip("-");
        TANDEM_TRY(last, parse_character());
        if (last < first) return fail("a range runs backwards");
      }
      ranges.emplace_back(first, last);
    }
    return negated ? not_class_expr(ranges) : class_expr(std::move(ranges));
  }

  int depth_ = 0;
  GrammarBuilder builder_;
  std::unordered_map<std::string, std::int32_t> rules_;
  std::unordered_map<std::string, bool> defined_;
};

}  // namespace

Result<Grammar> parse_gbnf(std::string_view text) {
  if (text.size() > kMaxTextBytes)
    return invalid_argument("the grammar is too long", "at most 1 MiB");
  return GbnfParser(text).run();
}

}  // namespace tandem
