#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/merge_table.h"
#include "text/pre_tokenizer.h"
#include "text/symbol_table.h"
#include "text/vocabulary.h"

namespace tandem {

// Byte-level BPE (Sennrich et al. 2016, over bytes as GPT-2 does it): text is cut into words, a
// word into bytes, and the pair with the best rank is joined until no pair has one. Immutable,
// shareable.
class BpeEncoder {
 public:
  // `vocabulary` must be of TokenizerModel::kByteLevelBpe; it is not kept.
  static Result<std::unique_ptr<BpeEncoder>> create(const Vocabulary& vocabulary);

  // Appends the tokens of `text`. A joined string that is no token gives the tokens of its bytes; a
  // byte that is none gives the unknown token, or nothing where there is none either.
  void encode(std::string_view text, std::vector<std::int32_t>& out) const;

 private:
  BpeEncoder() = default;

  void index_tokens(const Vocabulary& vocabulary);
  void index_merges(const Vocabulary& vocabulary);
  std::int32_t intern(std::string_view bytes);
  void encode_word(std::string_view word, std::vector<std::int32_t>& out) const;
  void append_symbol(std::int32_t symbol, std::vector<std::int32_t>& out) const;

  // A symbol is a string of bytes that is a token (its id) or that merges speak of (an id from
  // num_tokens_ on, its bytes in extra_).
  std::int32_t num_tokens_ = 0;
  SymbolTable symbols_;
  std::vector<std::string> extra_;
  std::array<std::int32_t, 256> byte_symbols_{};
  MergeTable merges_;
  bool ignores_merges_ = false;
  std::int32_t unknown_ = -1;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
};

}  // namespace tandem
