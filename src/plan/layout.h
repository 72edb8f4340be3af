#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/model_spec.h"
#include "plan/plan.h"

namespace tandem {

// One device as a layout sees it.
struct LayoutDevice {
  std::string id;
  double speed = 1.0;               // relative; shares follow it
  std::int64_t capacity_bytes = 0;  // 0: not known, everything fits
};

// What is decided before the arithmetic: which devices form which stage, and sizes.
struct LayoutRequest {
  std::vector<std::vector<LayoutDevice>> stages;  // outer: pipeline; inner: a tensor group
  // Layers per stage; empty: by the stages' summed speeds.
  std::vector<std::int32_t> layers_per_stage;
  std::int64_t context_tokens = 4096;  // of one sequence
  std::int32_t max_sequences = 1;
  std::int32_t max_batch_tokens = 512;
  std::int32_t micro_batch_tokens = 128;  // where there are several stages
  std::int32_t max_output_rows = 0;       // of logits in one step; 0: max_sequences
  ElementType kv_type = ElementType::kF16;
  std::int32_t kv_block_tokens = 32;
  bool split_by_expert = false;
  // Where there are several stages of one device each: cut the output matrix over all of them, not
  // only over the last. What the last stage alone would compute for every token of a decode is
  // then no longer in the way of an even cut of the layers.
  bool output_on_all_stages = false;
};

// Cuts `total` units into contiguous intervals in proportion to `shares` (each >= 0, sum > 0), by
// largest remainder; ties to the lower index. Intervals may be empty.
std::vector<Interval> apportion(std::int64_t total, const std::vector<double>& shares);

// Where the feed-forward's width may be cut: the largest quantisation block of the matrices whose
// columns go with it.
std::int64_t ffn_granule_of(const ModelSpec& spec);

// Turns the decisions into a Plan: who holds which heads, widths, experts and rows, with bytes.
// Attention is cut at whole groups of query heads that share a KV head, or, with more devices than
// KV heads, at query heads, replicating KV heads. The feed-forward is cut at whole quantisation
// blocks of the down projection, the vocabulary at multiples of 32 rows where it is large enough.
// A plan that does not fit is returned with fits = false and why_not; errors are for requests that
// make no sense (no devices, more stages than layers).
Result<Plan> lay_out(const ModelSpec& spec, const LayoutRequest& request);

// Bytes of activations and scratch that a rank of this shard needs for `max_batch_tokens`: the
// same arithmetic that sizes the rank's buffers (model/activation_sizes.h).
std::int64_t compute_bytes_of(const ModelSpec& spec, const RankShard& shard,
                              std::int32_t max_batch_tokens, std::int32_t max_output_rows);

}  // namespace tandem
