#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/generation.h"
#include "text/detokenizer.h"
#include "text/stop_strings.h"

namespace tandem {

// Turns an answer's tokens into its events' texts: whole characters, no stop strings.
class AnswerText {
 public:
  // tokenizer: may be null, then all texts are empty. It must outlive this.
  AnswerText(const Tokenizer* tokenizer, bool render_special, StopStrings stop);

  void push(SampledToken token);
  // The text is over: what was held back is given out (unless a stop string was found).
  void flush();

  // What can be given out now, with its tokens. Nullopt: nothing. Tokens of no text wait for the
  // next one with some, except at the end.
  std::optional<TextEvent> take(std::int32_t choice);

  // The stop string that was found. Null: none so far.
  const std::string* stop_text() const { return stop_.matched(); }

 private:
  const Tokenizer* tokenizer_;
  bool render_special_;
  std::optional<Detokenizer> detokenizer_;
  StopStrings stop_;
  std::string text_;
  std::vector<GeneratedToken> tokens_;
  bool is_over_ = false;
};

}  // namespace tandem
