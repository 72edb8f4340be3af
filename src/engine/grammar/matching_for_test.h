#pragma once

#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/grammar_matcher.h"

namespace tandem {

// A vocabulary of the 256 single bytes.
inline std::shared_ptr<const TokenTrie> byte_trie() {
  std::vector<std::string> pieces;
  for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
  return std::make_shared<const TokenTrie>(pieces);
}

inline std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Whether `text` is a whole sentence of the grammar.
inline bool matches(const Grammar& grammar, std::string_view text) {
  static const auto trie = byte_trie();
  GrammarMatcher matcher(std::make_shared<const Grammar>(grammar), trie);
  return matcher.accept(bytes_of(text)) && matcher.may_end();
}

// A random walk through the grammar, token by token; empty where it did not end within
// `max_tokens`.
inline std::string random_sentence(const Grammar& grammar, std::mt19937& random,
                                   std::shared_ptr<const TokenTrie> trie = byte_trie(),
                                   int max_tokens = 2000) {
  GrammarMatcher matcher(std::make_shared<const Grammar>(grammar), trie);
  std::string text;
  for (int i = 0; i < max_tokens; ++i) {
    std::vector<std::int32_t> allowed;
    const auto& bits = matcher.allowed_tokens();
    for (std::int32_t token = 0; token < trie->vocabulary_size(); ++token) {
      if ((bits[static_cast<std::size_t>(token) / 64] >> (token % 64)) & 1)
        allowed.push_back(token);
    }
    if (matcher.may_end() && (allowed.empty() || random() % 4 == 0)) return text;
    if (allowed.empty()) return "dead end after: " + text;
    const std::int32_t token = allowed[random() % allowed.size()];
    for (const auto byte : trie->bytes_of(token)) text += static_cast<char>(byte);
    if (!matcher.accept(token)) return "refused what it allowed: " + text;
  }
  return "";
}

}  // namespace tandem
