#include "engine/answer_text.h"

#include <utility>

namespace tandem {

AnswerText::AnswerText(const Tokenizer* tokenizer, bool render_special, StopStrings stop)
    : tokenizer_(tokenizer), render_special_(render_special), stop_(std::move(stop)) {
  if (tokenizer == nullptr) return;
  detokenizer_.emplace(
      *tokenizer, DecodeOptions{.render_special = render_special, .strip_space_prefix = false});
}

void AnswerText::push(SampledToken token) {
  GeneratedToken generated{token.token, {}, token.logprob, std::move(token.likeliest)};
  if (detokenizer_) {
    generated.bytes = tokenizer_->piece(token.token, render_special_);
    text_ += stop_.push(detokenizer_->push(token.token));
  }
  tokens_.push_back(std::move(generated));
}

void AnswerText::flush() {
  if (detokenizer_) text_ += stop_.push(detokenizer_->flush());
  text_ += stop_.flush();
  is_over_ = true;
}

std::optional<TextEvent> AnswerText::take(std::int32_t choice) {
  const bool waits = detokenizer_.has_value() && text_.empty() && !is_over_;
  if (waits || (text_.empty() && tokens_.empty())) return std::nullopt;
  TextEvent event{choice, std::exchange(text_, {}), std::exchange(tokens_, {})};
  return event;
}

}  // namespace tandem
