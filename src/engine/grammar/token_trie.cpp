#include "engine/grammar/token_trie.h"

#include <algorithm>
#include <numeric>

#include "text/tokenizer.h"

namespace tandem {

TokenTrie::TokenTrie(std::span<const std::string> pieces)
    : vocabulary_size_(static_cast<std::int32_t>(pieces.size())) {
  byte_offsets_.push_back(0);
  for (const std::string& piece : pieces) {
    bytes_.insert(bytes_.end(), piece.begin(), piece.end());
    byte_offsets_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }
  tokens_.resize(pieces.size());
  std::iota(tokens_.begin(), tokens_.end(), 0);
  std::erase_if(tokens_, [&](std::int32_t token) { return bytes_of(token).empty(); });
  std::sort(tokens_.begin(), tokens_.end(), [this](std::int32_t a, std::int32_t b) {
    const auto x = bytes_of(a);
    const auto y = bytes_of(b);
    const auto order =
        std::lexicographical_compare_three_way(x.begin(), x.end(), y.begin(), y.end());
    return order != 0 ? order < 0 : a < b;
  });
  std::vector<std::size_t> path;  // the open nodes, by depth
  std::vector<std::uint8_t> path_bytes;
  const auto close_to = [&](std::size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes_[path.back()].subtree_end = static_cast<std::int32_t>(nodes_.size());
    }
    path_bytes.resize(depth);
  };
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const auto bytes = bytes_of(tokens_[i]);
    const auto common =
        std::mismatch(bytes.begin(), bytes.end(), path_bytes.begin(), path_bytes.end()).first -
        bytes.begin();
    close_to(static_cast<std::size_t>(common));
    for (auto depth = static_cast<std::size_t>(common); depth < bytes.size(); ++depth) {
      path.push_back(nodes_.size());
      path_bytes.push_back(bytes[depth]);
      nodes_.push_back(
          {bytes[depth], static_cast<std::int32_t>(depth), 0, static_cast<std::int32_t>(i)});
    }
    max_depth_ = std::max(max_depth_, static_cast<std::int32_t>(bytes.size()));
    // A node made for a longer token after this one starts behind it.
  }
  close_to(0);
}

TokenTrie TokenTrie::of(const Tokenizer& tokenizer, bool with_control) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  std::vector<std::string> pieces(static_cast<std::size_t>(vocabulary.size()));
  for (std::int32_t token = 0; token < vocabulary.size(); ++token) {
    const TokenType type = vocabulary.token(token).type;
    const bool is_control = type == TokenType::kControl;
    const bool is_text = type == TokenType::kNormal || type == TokenType::kUserDefined ||
                         type == TokenType::kByte || (with_control && is_control);
    if (is_text && !vocabulary.is_end_of_generation(token)) {
      pieces[static_cast<std::size_t>(token)] = tokenizer.piece(token, is_control);
    }
  }
  return TokenTrie(pieces);
}

std::span<const std::int32_t> TokenTrie::tokens_at(std::size_t index) const {
  // Tokens are in the order of the walk: those at a node come before those below it, and a node's
  // first token has exactly its bytes or is the first below.
  const auto first = static_cast<std::size_t>(nodes_[index].first_token);
  const auto end = index + 1 < nodes_.size()
                       ? static_cast<std::size_t>(nodes_[index + 1].first_token)
                       : tokens_.size();
  return std::span(tokens_).subspan(first, end - first);
}

std::span<const std::uint8_t> TokenTrie::bytes_of(std::int32_t token) const {
  const auto index = static_cast<std::size_t>(token);
  return std::span(bytes_).subspan(byte_offsets_[index],
                                   byte_offsets_[index + 1] - byte_offsets_[index]);
}

}  // namespace tandem
