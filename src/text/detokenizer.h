#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace tandem {

// Turns tokens into text as they come, never giving out half a UTF-8 character: what push() and
// flush() return is valid UTF-8. A character whose bytes come in several tokens is held back until
// its last byte is there; bytes that can become no character are given out as U+FFFD, as soon as
// that is certain. Tokenizer::decode() gives the raw bytes.
class Detokenizer {
 public:
  // `tokenizer` must outlive this. `options.strip_space_prefix` takes effect at the first token
  // that has text: off, as here, for an answer, which continues its prompt.
  explicit Detokenizer(const Tokenizer& tokenizer,
                       DecodeOptions options = {.render_special = false,
                                                .strip_space_prefix = false});

  // The text that `token` completes; often a whole piece, empty while a character is incomplete.
  std::string push(std::int32_t token);

  // At the end of the text: one U+FFFD for what was held back, if anything. Ready for a new text.
  std::string flush();

  // Bytes held back: 0 to 3.
  std::size_t num_pending_bytes() const { return pending_.size(); }

 private:
  std::string piece_of(std::int32_t token);

  const Tokenizer& tokenizer_;
  DecodeOptions options_;
  bool is_at_start_ = true;
  std::string pending_;
};

}  // namespace tandem
