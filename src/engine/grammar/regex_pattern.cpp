#include "engine/grammar/regex_pattern.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "engine/grammar/text_cursor.h"
#include "text/utf8.h"

namespace tandem {
namespace {

constexpr int kMaxDepth = 50;
constexpr std::size_t kMaxPatternBytes = 16 << 10;
constexpr std::int32_t kMaxCount = 10'000;

const CodePointRanges kDigits = {{'0', '9'}};
const CodePointRanges kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodePointRanges kSpace = {
    {'\t', '\r'}, {' ', ' '}, {0xA0, 0xA0}, {0x2028, 0x2029}, {0x3000, 0x3000}};
const CodePointRanges kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

// What \d and its kin stand for.
std::optional<CodePointRanges> named_class(char c) {
  switch (c) {
    case 'd':
      return kDigits;
    case 'w':
      return kWord;
    case 's':
      return kSpace;
    case 'D':
      return complement_of(kDigits);
    case 'W':
      return complement_of(kWord);
    case 'S':
      return complement_of(kSpace);
    default:
      return std::nullopt;
  }
}

class PatternParser : TextCursor {
 public:
  PatternParser(std::string_view pattern, JsonRules& rules) : TextCursor(pattern), rules_(rules) {}

  Result<GrammarExpr> run() {
    TANDEM_TRY(GrammarExpr expr, parse_choice());
    if (at_ < text_.size()) return fail("unmatched ')'");
    return expr;
  }

 private:
  Error fail(std::string what) const {
    return invalid_argument("pattern, character " + std::to_string(at_ + 1) + ": " +
                            std::move(what));
  }
  Error cannot(std::string what) const {
    return unsupported("pattern, character " + std::to_string(at_ + 1), std::move(what));
  }

  Result<GrammarExpr> anything() {
    TANDEM_TRY(GrammarExpr character, rules_.string_character());
    return repeat_expr(std::move(character), 0);
  }

  Result<GrammarExpr> parse_choice() {
    if (++depth_ > kMaxDepth) return fail("groups are nested too deeply");
    std::vector<GrammarExpr> choices;
    do {
      TANDEM_TRY(GrammarExpr choice, parse_sequence());
      choices.push_back(std::move(choice));
    } while (skip("|"));
    --depth_;
    return choice_expr(std::move(choices));
  }

  // At the outermost level each alternative has its own anchors, or may stand anywhere.
  Result<GrammarExpr> parse_sequence() {
    const bool outermost = depth_ == 1;
    std::vector<GrammarExpr> parts;
    if (!(outermost && skip("^")) && outermost) {
      TANDEM_TRY(GrammarExpr before, anything());
      parts.push_back(std::move(before));
    }
    bool anchored_end = false;
    while (at_ < text_.size() && peek() != '|' && peek() != ')') {
      if (outermost && peek() == '$' && (at_ + 1 == text_.size() || text_[at_ + 1] == '|')) {
        ++at_;
        anchored_end = true;
        break;
      }
      TANDEM_TRY(GrammarExpr part, parse_atom());
      TANDEM_TRY(part, parse_quantifier(std::move(part)));
      parts.push_back(std::move(part));
    }
    if (outermost && !anchored_end) {
      TANDEM_TRY(GrammarExpr after, anything());
      parts.push_back(std::move(after));
    }
    return sequence_expr(std::move(parts));
  }

  Result<GrammarExpr> parse_atom() {
    const char c = peek();
    if (skip("(")) return parse_group();
    if (skip("[")) return parse_class();
    if (skip(".")) return json_class_expr(complement_of(kLineEnds));
    if (c == '^' || c == '$') return cannot("an anchor inside of the pattern");
    if (c == '*' || c == '+' || c == '?') return fail("nothing to repeat");
    if (c == '\\') {
      if (const auto named = named_class(at_ + 1 < text_.size() ? text_[at_ + 1] : '\0')) {
        at_ += 2;
        return json_class_expr(*named);
      }
    }
    TANDEM_TRY(const char32_t character, parse_character(false));
    return text_expr(json_escaped(character));
  }

  Result<GrammarExpr> parse_group() {
    if (skip("?:")) {
    } else if (skip("?<")) {
      if (peek() == '=' || peek() == '!') return cannot("look-behind");
      const std::size_t end = text_.find('>', at_);
      if (end == std::string_view::npos) return fail("a group's name does not end");
      at_ = end + 1;
    } else if (peek() == '?') {
      return cannot("look-ahead or flags");
    }
    TANDEM_TRY(GrammarExpr expr, parse_choice());
    if (!skip(")")) return fail("an open group");
    return expr;
  }

  Result<char32_t> parse_character(bool in_class) {
    if (!skip("\\")) {
      if (const auto read = read_character()) return *read;
      return fail("invalid UTF-8");
    }
    if (at_ >= text_.size()) return fail("a lone backslash at the end");
    const char c = text_[at_++];
    switch (c) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case 'f':
        return U'\f';
      case 'v':
        return U'\v';
      case '0':
        return U'\0';
      case 'x':
        return parse_hex(2);
      case 'u':
        return parse_hex(4);
      case 'b':
        if (in_class) return U'\b';
        return cannot("\\b");
      default:
        break;
    }
    const bool is_letter = (c >= '1' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (is_letter) return cannot(std::string("\\") + c);
    return static_cast<char32_t>(static_cast<unsigned char>(c));
  }

  Result<char32_t> parse_hex(int num_digits) {
    const auto value = read_hex(num_digits);
    if (!value) return fail("a cut escape");
    if (*value >= 0xD800 && *value < 0xE000) return cannot("a surrogate");
    return *value;
  }

  Result<GrammarExpr> parse_class() {
    const bool negated = skip("^");
    CodePointRanges ranges;
    while (!skip("]")) {
      if (at_ >= text_.size()) return fail("an open class");
      if (peek() == '\\' && at_ + 1 < text_.size()) {
        if (const auto named = named_class(text_[at_ + 1])) {
          at_ += 2;
          ranges.insert(ranges.end(), named->begin(), named->end());
          continue;
        }
      }
      TANDEM_TRY(const char32_t first, parse_character(true));
      char32_t last = first;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        skip("-");
        TANDEM_TRY(last, parse_character(true));
        if (last < first) return fail("a range runs backwards");
      }
      ranges.emplace_back(first, last);
    }
    return json_class_expr(negated ? complement_of(ranges) : normalised(std::move(ranges)));
  }

  Result<GrammarExpr> parse_quantifier(GrammarExpr part) {
    std::int32_t min_count = 1;
    std::int32_t max_count = 1;
    if (skip("*")) {
      min_count = 0;
      max_count = GrammarExpr::kUnbounded;
    } else if (skip("+")) {
      max_count = GrammarExpr::kUnbounded;
    } else if (skip("?")) {
      min_count = 0;
    } else if (peek() == '{' && at_ + 1 < text_.size() && text_[at_ + 1] >= '0' &&
               text_[at_ + 1] <= '9') {
      skip("{");
      TANDEM_TRY(min_count, parse_count());
      max_count = min_count;
      if (skip(",")) {
        max_count = GrammarExpr::kUnbounded;
        if (peek() != '}') {
          TANDEM_TRY(max_count, parse_count());
        }
      }
      if (!skip("}")) return fail("an open quantifier");
      if (max_count < min_count) return fail("a quantifier of at most fewer than at least");
    } else {
      return part;
    }
    skip("?");  // lazy: the same texts match
    const char next = peek();
    if (next == '*' || next == '+' || next == '?') return fail("a quantifier of a quantifier");
    return repeat_expr(std::move(part), min_count, max_count);
  }

  Result<std::int32_t> parse_count() {
    const auto count = read_number(kMaxCount);
    if (!count) return fail("no count");
    if (*count > kMaxCount) return fail("a count above " + std::to_string(kMaxCount));
    return *count;
  }

  JsonRules& rules_;
  int depth_ = 0;
};

}  // namespace

std::string json_escaped(char32_t character) {
  switch (character) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    default:
      break;
  }
  std::string text;
  if (character < 0x20 || character == 0x7F) {
    char buffer[8];
    std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(character));
    return buffer;
  }
  append_utf8(text, character);
  return text;
}

GrammarExpr json_class_expr(const CodePointRanges& ranges) {
  CodePointRanges plain;
  std::vector<GrammarExpr> choices;
  const auto add_escaped = [&](char32_t character) {
    choices.push_back(text_expr(json_escaped(character)));
  };
  for (const auto& [first, last] : ranges) {
    char32_t next = first;
    for (const char32_t special : {U'"', U'\\', U'\x7F'}) {
      if (special < first || special > last) continue;
      add_escaped(special);
      if (special > next) plain.emplace_back(next, special - 1);
      next = special + 1;
    }
    if (next <= last) plain.emplace_back(next, last);
    for (char32_t c = first; c < 0x20 && c <= last; ++c) add_escaped(c);
  }
  CodePointRanges printable;
  for (const auto& [first, last] : plain) {
    if (last >= 0x20) printable.emplace_back(std::max<char32_t>(first, 0x20), last);
  }
  if (!printable.empty() || choices.empty()) choices.push_back(class_expr(std::move(printable)));
  return choice_expr(std::move(choices));
}

Result<GrammarExpr> pattern_expr(std::string_view pattern, JsonRules& rules) {
  if (pattern.size() > kMaxPatternBytes) return invalid_argument("pattern is too long");
  return PatternParser(pattern, rules).run();
}

}  // namespace tandem
