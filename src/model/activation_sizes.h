#pragma once

#include <cstdint>

#include "model/rank_shard.h"

namespace tandem {

// How many numbers of activations a rank keeps for steps of at most `max_tokens` tokens and
// `max_output_rows` rows of logits: what its buffers are made from, and what a plan reckons with.
// Column counts of matrices whose rows are tokens (or, for expert_*, token-choice pairs).
struct ActivationSizes {
  // Of the best logits of a row, the most that a rank picks out.
  static constexpr std::int64_t kMostCandidates = 64;

  std::int64_t max_tokens = 0;
  std::int64_t max_output_rows = 0;
  std::int64_t hidden = 0;
  std::int64_t q = 0;                  // q heads * head_dim
  std::int64_t kv = 0;                 // kv heads * head_dim
  std::int64_t attention_out = 0;      // q, widened to whole blocks of the output projection
  std::int64_t attention_out_pad = 0;  // columns of it before the first head
  std::int64_t ffn = 0;                // dense: this rank's width
  std::int64_t gate = 0;               // ffn, widened to whole blocks of the down projection
  std::int64_t gate_pad = 0;
  std::int64_t num_experts = 0;  // columns of the router's logits
  std::int64_t top_k = 0;
  std::int64_t vocabulary = 0;  // this rank's rows of the output matrix

  static constexpr std::int64_t kNumBuffers = 20;  // that these are cut into
  std::int64_t total_bytes() const;
};

ActivationSizes activation_sizes_of(const ModelSpec& spec, const RankShard& shard,
                                    std::int64_t max_tokens, std::int64_t max_output_rows);

}  // namespace tandem
