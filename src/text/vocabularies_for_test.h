#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace tandem {

// Small vocabularies of both kinds, for tests and fuzzing.

inline std::int32_t add_token(VocabularyFields& fields, std::string text, TokenType type,
                              float score = 0) {
  fields.tokens.push_back(std::move(text));
  if (fields.scores) fields.scores->push_back(score);
  fields.types->push_back(static_cast<std::int32_t>(type));
  return static_cast<std::int32_t>(fields.tokens.size()) - 1;
}

// Byte-level BPE: all bytes, and some words by merging. Ids: 0 <|bos|>, 1 <|eos|>, 2 <|im_end|>
// (control), 3 <tag>, 4 <tag>+ (user-defined), 5 to 260 the bytes in order, then one for each
// merge.
inline VocabularyFields small_bpe_fields(std::string pre = "gpt-2") {
  VocabularyFields fields;
  fields.where = "small bpe";
  fields.model = "gpt2";
  fields.pre = std::move(pre);
  fields.types.emplace();
  fields.special.bos = add_token(fields, "<|bos|>", TokenType::kControl);
  fields.special.eos = add_token(fields, "<|eos|>", TokenType::kControl);
  add_token(fields, "<|im_end|>", TokenType::kControl);
  add_token(fields, "<tag>", TokenType::kUserDefined);
  add_token(fields, "<tag>+", TokenType::kUserDefined);
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    add_token(fields, spelling_of_bytes({&c, 1}), TokenType::kNormal);
  }
  fields.merges = {"h e",     "l l", "Ġ w", "he ll", "o r", "Ġw or", "hell o", "l d",
                   "Ġwor ld", "1 2", "! !", "!! !!", "Ġ Ġ", "a a",   "aa aa"};
  for (const std::string& merge : *fields.merges) {
    std::string joined = merge;
    joined.erase(joined.find(' '), 1);
    add_token(fields, joined, TokenType::kNormal);
  }
  return fields;
}

// SentencePiece. Ids: 0 <unk>, 1 <s>, 2 </s>, 3 <tag> (user-defined), 4 to 259 the bytes in order,
// then pieces.
inline VocabularyFields small_spm_fields() {
  VocabularyFields fields;
  fields.where = "small spm";
  fields.model = "llama";
  fields.scores.emplace();
  fields.types.emplace();
  fields.special.unk = add_token(fields, "<unk>", TokenType::kUnknown);
  fields.special.bos = add_token(fields, "<s>", TokenType::kControl);
  fields.special.eos = add_token(fields, "</s>", TokenType::kControl);
  add_token(fields, "<tag>", TokenType::kUserDefined);
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (std::size_t byte = 0; byte < 256; ++byte) {
    add_token(fields, {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'}, TokenType::kByte);
  }
  float score = -1;
  for (const char* piece :
       {"▁h", "el",   "▁w", "or", "▁hel", "lo", "▁hello", "▁wor", "ld", "▁world",
        "▁▁", "▁▁▁▁", "12", "<s", "s>",   "▁",  "h",      "e",    "l",  "o",
        "w",  "r",    "d",  "1",  "2",    "<",  "s",      ">",    "a",  "é"}) {
    add_token(fields, piece, TokenType::kNormal, score--);
  }
  return fields;
}

inline std::unique_ptr<const Tokenizer> make_tokenizer(VocabularyFields fields) {
  return Tokenizer::create(Vocabulary::create(std::move(fields)).value()).value();
}

}  // namespace tandem
