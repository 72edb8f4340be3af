// Names of members beside those that a schema knows.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "engine/grammar/schema_scalars.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxCompared = 40;  // characters of a name
constexpr int kMaxNodes = 5'000;          // of the tree of names

class OtherKeys {
 public:
  explicit OtherKeys(GrammarExpr character) : character_(std::move(character)) {}

  // What follows the first `depth` characters that all of `names` share, the closing quote
  // included. Only plain ASCII is compared, and no further than kMaxCompared; where a name goes on
  // otherwise, all strings that start like it are left out.
  Result<GrammarExpr> after(std::span<const std::string> names, std::size_t depth) {
    if (++num_nodes_ > kMaxNodes) {
      return unsupported("", "that many property names beside additionalProperties");
    }
    const auto quote = text_expr("\"");
    std::vector<GrammarExpr> choices;
    CodePointRanges taken = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}, {0x7F, 0x7F}};
    bool is_name = false;
    for (std::size_t start = 0; start < names.size();) {
      if (names[start].size() == depth) {
        is_name = true;
        ++start;
        continue;
      }
      const char c = names[start][depth];
      std::size_t end = start;
      while (end < names.size() && names[end].size() > depth && names[end][depth] == c) ++end;
      const bool is_plain = c >= 0x20 && c < 0x7F && c != '\\';
      if (is_plain) taken.emplace_back(c, c);
      if (!is_plain && c != '\\') taken.emplace_back(0x80, 0x10FFFF);
      if (is_plain && depth < kMaxCompared) {
        TANDEM_TRY(GrammarExpr tail, after(names.subspan(start, end - start), depth + 1));
        choices.push_back(sequence_expr({text_expr(std::string(1, c)), std::move(tail)}));
      }
      start = end;
    }
    choices.push_back(sequence_expr({not_class_expr(taken), repeat_expr(character_, 0), quote}));
    if (!is_name) choices.push_back(quote);
    return choice_expr(std::move(choices));
  }

 private:
  GrammarExpr character_;
  int num_nodes_ = 0;
};

}  // namespace

Result<GrammarExpr> other_key_expr(const std::vector<std::string>& names, JsonRules& rules) {
  std::vector<std::string> escaped;
  for (const std::string& name : names) {
    const std::string quoted = json_text_of(name);
    escaped.push_back(quoted.substr(1, quoted.size() - 2));
  }
  std::sort(escaped.begin(), escaped.end());
  TANDEM_TRY(GrammarExpr character, rules.string_character());
  TANDEM_TRY(GrammarExpr tail, OtherKeys(std::move(character)).after(escaped, 0));
  return sequence_expr({text_expr("\""), std::move(tail)});
}

}  // namespace tandem
