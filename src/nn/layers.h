#pragma once

#include <span>

#include "comm/communicator.h"
#include "model/rank_shard.h"
#include "nn/activations.h"
#include "nn/kv_cache.h"
#include "nn/parameters.h"
#include "nn/step_batch.h"

namespace tandem {

// All that a layer works with on one rank in one step; owns nothing.
struct LayerContext {
  const ModelSpec& spec;
  const RankShard& shard;
  const DecoderParameters& parameters;
  Activations& activations;
  Stream& stream;
  Communicator& group;
  const StepBatch& batch;
  std::span<const SequenceSlice> sequences;  // of the batch, for attention
  // What the half before has computed and hidden has not taken yet: the next norm adds it, in one
  // pass where the device can. No rows: nothing.
  MatrixView residual = {};
};

// The two halves of a decoder layer. Each reads hidden, and leaves in context.residual what is to
// be added to it:
//   hidden += post_norm(sum over ranks of f(norm(hidden)))
// Column-parallel matrices first, then a row-parallel one whose partial result is reduced. On
// return hidden and residual are replicated: the same bits on every rank of the group.
// layer_index: within the stage. Errors are those of the reduction.
Status run_attention(LayerContext& context, std::int32_t layer_index, const KvView& kv);
Status run_feed_forward(LayerContext& context, std::int32_t layer_index);

// hidden += residual.
void settle(LayerContext& context);

// The norm with which a half begins, which takes the residual; its result goes to normed().
NormArgs take_norm(LayerContext& context, const float* weight);

// Sums the ranks' partial results, applies the post-norm where the model has one (`post_norm` may
// be null), and leaves the sum to be added to hidden.
Status leave_reduced(LayerContext& context, MatrixView partial, const float* post_norm);

// The columns of `padded` that a row-parallel weight reads: `begin` is the first column of this
// rank's own in the whole matrix, `pad` the columns of `padded` before it.
MatrixView row_parallel_input(MatrixView padded, std::int64_t pad, const Weight& weight,
                              std::int64_t begin);

}  // namespace tandem
