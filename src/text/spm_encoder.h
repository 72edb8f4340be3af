#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/vocabulary.h"

namespace tandem {

// SentencePiece's BPE (Kudo and Richardson 2018; bpe_model.cc): text is cut into characters, and
// the neighbours that together are the token with the best score are joined until none are. What is
// no token then falls back to the tokens of its bytes. Immutable, safe to share.
class SpmEncoder {
 public:
  // `vocabulary` must be of TokenizerModel::kSentencePiece; it is not kept.
  explicit SpmEncoder(const Vocabulary& vocabulary);

  // Appends the tokens of `text`, in which each space stands for "▁". A character whose bytes
  // are no tokens gives the unknown token once. A prefix space is the caller's to add. O(n log n).
  void encode(std::string_view text, std::vector<std::int32_t>& out) const;

 private:
  struct Piece {
    std::int32_t id;
    float score;
  };
  class Merger;

  const Piece* find(std::string_view text) const;
  void encode_run(std::string_view escaped, std::vector<std::int32_t>& out) const;
  void append(std::string_view symbol, std::vector<std::int32_t>& out) const;

  // Tokens that text may become. Control, unknown and byte tokens are none of them (as in
  // SentencePiece's own look-up), so that text cannot spell its way to a control token.
  std::vector<std::string> texts_;
  std::unordered_map<std::string_view, Piece> pieces_;  // views of texts_
  std::size_t max_piece_bytes_ = 0;
  std::array<std::int32_t, 256> byte_tokens_{};  // -1 where a byte has none
  std::int32_t unknown_ = 0;
  // No token has a "▁" behind another character, so that words can be merged one by one.
  bool words_are_separate_ = true;
};

}  // namespace tandem
