#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/vocabulary.h"

namespace tandem {

class GgufFile;

struct EncodeOptions {
  // Adds the tokens that the model expects around its input, as far as the vocabulary says so.
  bool add_special = true;
  // Text that spells a control token ("<|im_end|>") becomes that token. Off for what users write.
  bool parse_special = false;
};

struct DecodeOptions {
  // Control and unknown tokens appear as their text; else they are left out.
  bool render_special = false;
  // Takes back the space that encode() put before the text (SentencePiece's add_space_prefix). Off
  // for text that continues other text.
  bool strip_space_prefix = true;
};

// Text to tokens and back, as a model's vocabulary has it. Immutable, safe to share among threads.
class Tokenizer {
 public:
  // Copies what it needs out of `file`. Errors: kMalformed (a key is missing, of the wrong type or
  // does not fit the others), kUnsupported (model or pre-tokenizer, with a list of those known).
  static Result<std::unique_ptr<const Tokenizer>> create(const GgufFile& file);
  // The same for a vocabulary from elsewhere.
  static Result<std::unique_ptr<const Tokenizer>> create(Vocabulary vocabulary);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  const Vocabulary& vocabulary() const { return vocabulary_; }

  // Any bytes are taken: those that are not valid UTF-8 become tokens of single bytes where the
  // vocabulary has such tokens, and never stop the encoding. O(n log n) in the text.
  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The bytes that `token` adds to a text, which may be part of a UTF-8 character (see
  // Detokenizer). Empty for ids outside the vocabulary, for unused tokens, and for control and
  // unknown tokens unless `render_special`.
  std::string piece(std::int32_t token, bool render_special = false) const;

  // The pieces of `tokens` in a row: bytes that the model chose, not checked to be valid UTF-8.
  std::string decode(std::span<const std::int32_t> tokens, const DecodeOptions& options = {}) const;

 private:
  class Encoder;

  explicit Tokenizer(Vocabulary vocabulary);
  void encode_fragments(std::string_view text, const EncodeOptions& options,
                        std::vector<std::int32_t>& out) const;

  Vocabulary vocabulary_;
  std::unique_ptr<const Encoder> encoder_;
};

}  // namespace tandem
