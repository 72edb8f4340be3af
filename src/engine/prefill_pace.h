#pragma once

#include <cstdint>

namespace tandem {

// How many prompt tokens a step may take beside decodes, so that those who read along wait at most
// `max_slowdown` times as long for their next token. Learns from the steps' durations: of steps
// that only decode, and what each prompt token adds to one.
class PrefillPace {
 public:
  PrefillPace(std::int32_t max_batch_tokens, double max_slowdown);

  // Prompt tokens for a step that also decodes (or runs beside one that does). At least
  // kLeastTokens, so that a prompt always comes in; max_batch_tokens at most.
  std::int32_t tokens_beside_decodes() const;
  void observe(std::int32_t num_decodes, std::int32_t num_prefill_tokens, std::int64_t duration_us);

 private:
  static constexpr std::int32_t kLeastTokens = 4;
  // Before the first measurement: a guess that errs on the side of those who read along.
  static constexpr std::int32_t kFirstTokens = 32;

  std::int32_t max_batch_tokens_;
  double max_slowdown_;
  double decode_step_us_ = 0;    // moving average; 0: not seen yet
  double prefill_token_us_ = 0;  // likewise
};

}  // namespace tandem
