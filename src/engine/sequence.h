#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "device/logit_picker.h"
#include "engine/block_key.h"
#include "engine/hidden_pool.h"

namespace tandem {

// One answer in the making, as the scheduler sees it: tokens, and how much of them the KV cache
// holds. After pre-emption it is computed again from its tokens, prompt and answer alike.
struct Sequence {
  std::uint64_t arrival = 0;         // unique; the lower one comes first wherever there is a choice
  std::vector<std::int32_t> tokens;  // the prompt, then the answer
  std::int32_t num_prompt_tokens = 0;
  bool may_share = true;  // use and feed the prefix cache

  // Other than kNone: hidden states are wanted of it, and no logits. Set by the engine.
  Pooling pooling = Pooling::kNone;

  // How many of a row's best logits its sampler needs; 0: all. Set by the engine.
  std::int32_t num_candidates = 0;
  // Where it is not 0: what else of such a row. add_changes(ahead, row, changes) appends what its
  // sampler does to the logits of output row `row`, that behind `tokens` and these drafts; may be
  // empty.
  bool wants_log_sum = false;
  std::function<void(std::span<const std::int32_t> ahead, std::int32_t row,
                     std::vector<LogitChange>& changes)>
      add_changes;

  // Guesses of what follows `tokens`, to be checked by the next step. Set by the engine.
  std::vector<std::int32_t> drafts;

  // The scheduler's own.
  std::int32_t num_computed = 0;       // tokens whose keys and values lie in `blocks`
  std::int32_t num_cached_tokens = 0;  // of these, taken from the prefix cache when first admitted
  std::vector<std::int32_t> blocks;
  std::int32_t num_published = 0;  // full blocks that were made known
  BlockKey last_key;               // of the last of them
  bool in_flight = false;
  bool was_admitted = false;
  std::int32_t num_preemptions = 0;

  std::int32_t num_tokens() const { return static_cast<std::int32_t>(tokens.size()); }
  std::int32_t num_remaining() const { return num_tokens() - num_computed; }
};

}  // namespace tandem
