#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "runtime/runtime.h"

namespace tandem {

// Feeds `tokens` as one sequence from position 0 through blocks 0, 1, ... of an otherwise idle
// runner and hands out the logits of the positions that `wanted` names (ascending). In steps of at
// most the plan's max_batch_tokens and max_output_rows. Blocks.
// on_logits(position, logits): the logits are valid during the call; an error ends the evaluation.
// kInvalidArgument where the tokens exceed the plan's context.
Status evaluate(ModelRunner& runner, std::span<const std::int32_t> tokens,
                std::span<const std::int32_t> wanted,
                const std::function<Status(std::int32_t, std::span<const float>)>& on_logits);

struct Perplexity {
  double nll = 0;  // mean negative log-likelihood of a predicted token, natural logarithm
  double perplexity = 0;
  std::int64_t num_tokens = 0;  // predicted
};

// Over consecutive windows of `window_tokens` tokens: each window starts afresh with `bos` (where
// not negative), and every token but the window's first is predicted from those before it.
// on_progress(done, total) in tokens; may be empty.
Result<Perplexity> measure_perplexity(
    ModelRunner& runner, std::span<const std::int32_t> tokens, std::int32_t bos,
    std::int32_t window_tokens, const std::function<void(std::int64_t, std::int64_t)>& on_progress);

}  // namespace tandem
