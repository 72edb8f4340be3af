#pragma once

#include <cstdint>

namespace tandem {

// How many prompt tokens a step may take beside decodes, so that those who read along wait at most
// `max_slowdown` times as long for their next token. Learns from the steps' durations: a line
// through them by their number of tokens, of which late steps count most.
class PrefillPace {
 public:
  PrefillPace(std::int32_t max_batch_tokens, double max_slowdown);

  // Prompt tokens for a step that also decodes `num_decodes` tokens (or runs beside one that does).
  // At least (max_slowdown - 1) * num_decodes, since no prompt token costs more than a decoded one,
  // and kLeastTokens, so that a prompt always comes in; max_batch_tokens at most.
  std::int32_t tokens_beside(std::int32_t num_decodes) const;
  void observe(std::int32_t num_tokens, std::int64_t duration_us);

 private:
  static constexpr std::int32_t kLeastTokens = 4;
  // Before steps of different sizes were seen: a guess that errs on the side of those who read
  // along.
  static constexpr std::int32_t kFirstTokens = 32;

  std::int32_t max_batch_tokens_;
  double max_slowdown_;
  // Moving averages over the steps; of tokens and microseconds, their squares and products.
  double weight_ = 0;
  double tokens_ = 0;
  double duration_us_ = 0;
  double tokens_squared_ = 0;
  double product_ = 0;
  double token_us_ = 0;  // what a token adds to a step; 0: not known yet
};

}  // namespace tandem
