#include "text/special_splitter.h"

#include <map>
#include <utility>

namespace tandem {
namespace {

// C's isspace() in the "C" locale.
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

SpecialSplitter::SpecialSplitter(const Vocabulary& vocabulary) {
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    const VocabularyToken& token = vocabulary.token(id);
    const bool is_special = token.type == TokenType::kControl ||
                            token.type == TokenType::kUnknown ||
                            token.type == TokenType::kUserDefined;
    if (is_special && !token.text.empty()) ids.push_back(id);
  }
  texts_.reserve(ids.size());  // views of its strings are taken while it fills
  std::map<std::size_t, LengthClass, std::greater<>> classes;
  for (const std::int32_t id : ids) {
    const VocabularyToken& token = vocabulary.token(id);
    const std::string_view text = texts_.emplace_back(token.text);
    LengthClass& tokens = classes[text.size()];
    const bool is_user_defined = token.type == TokenType::kUserDefined;
    tokens.length = text.size();
    tokens.has_user_defined |= is_user_defined;
    tokens.first[static_cast<std::uint8_t>(text.front())] = true;
    tokens.last[static_cast<std::uint8_t>(text.back())] = true;
    tokens.entries.emplace(text, Entry{id, is_user_defined, token.strips_right});
  }
  for (auto& [length, tokens] : classes) classes_.push_back(std::move(tokens));
}

const SpecialSplitter::Entry* SpecialSplitter::match(const LengthClass& tokens,
                                                     std::string_view text, std::size_t at,
                                                     bool parse_special) {
  if (!tokens.first[static_cast<std::uint8_t>(text[at])] ||
      !tokens.last[static_cast<std::uint8_t>(text[at + tokens.length - 1])]) {
    return nullptr;
  }
  const auto found = tokens.entries.find(text.substr(at, tokens.length));
  if (found == tokens.entries.end()) return nullptr;
  return parse_special || found->second.is_user_defined ? &found->second : nullptr;
}

void SpecialSplitter::split_fragment(const LengthClass& tokens, std::string_view text,
                                     bool parse_special, std::vector<TextFragment>& out) {
  std::size_t done = 0;
  for (std::size_t i = 0; i + tokens.length <= text.size();) {
    const Entry* entry = match(tokens, text, i, parse_special);
    if (entry == nullptr) {
      ++i;
      continue;
    }
    if (i > done) out.push_back({text.substr(done, i - done), std::nullopt});
    out.push_back({text.substr(i, tokens.length), entry->id});
    i += tokens.length;
    while (entry->strips_right && i < text.size() && is_space(text[i])) ++i;
    done = i;
  }
  if (done < text.size()) out.push_back({text.substr(done), std::nullopt});
}

std::vector<TextFragment> SpecialSplitter::split(std::string_view text, bool parse_special) const {
  std::vector<TextFragment> fragments;
  if (!text.empty()) fragments.push_back({text, std::nullopt});
  for (const LengthClass& tokens : classes_) {
    if (!parse_special && !tokens.has_user_defined) continue;
    std::vector<TextFragment> finer;
    finer.reserve(fragments.size());
    for (const TextFragment& fragment : fragments) {
      if (fragment.token) {
        finer.push_back(fragment);
      } else {
        split_fragment(tokens, fragment.text, parse_special, finer);
      }
    }
    fragments = std::move(finer);
  }
  return fragments;
}

}  // namespace tandem
