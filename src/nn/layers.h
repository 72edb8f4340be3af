#pragma once

#include <span>
#include <utility>

#include "comm/communicator.h"
#include "comm/overlapping.h"
#include "model/rank_shard.h"
#include "nn/activations.h"
#include "nn/kv_cache.h"
#include "nn/parameters.h"
#include "nn/step_batch.h"

namespace tandem {

// What a half of a layer has computed and hidden has not taken yet: the next norm adds it, in one
// pass where the device can.
struct Residual {
  MatrixView sum;  // [num_tokens, hidden]; no rows: nothing
  // More than 0: parts of so many rows are still being summed. Whoever takes one awaits it, and
  // then applies the post-norm (null: none).
  std::int64_t rows_at_once = 0;
  const float* post_norm = nullptr;
};

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
  Overlapping* overlapping = nullptr;        // the group, if it is one
  Residual residual = {};
};

// The two halves of a decoder layer. Each reads hidden, and leaves in context.residual what is to
// be added to it:
//   hidden += post_norm(sum over ranks of f(norm(hidden)))
// Column-parallel matrices first, then a row-parallel one whose partial result is reduced. On
// return hidden and residual are replicated: the same bits on every rank of the group.
// layer_index: within the stage. Errors are those of the reduction.
Status run_attention(LayerContext& context, std::int32_t layer_index, const KvView& kv);
Status run_feed_forward(LayerContext& context, std::int32_t layer_index);

// hidden += residual. Errors are those of the sums that were awaited.
Status settle(LayerContext& context);

// Awaits rows [first, first + count) of a residual that is in parts; returns them.
Result<MatrixView> take_part(LayerContext& context, const Residual& residual, std::int64_t first,
                             std::int64_t count);

// The norm with which a half begins and which takes the residual: calls body(first row, NormArgs)
// for the tokens' rows, all at once, or in the parts in which the residual is summed, so that body
// computes one while the next is being summed. The normed rows go to normed().
template <typename Body>
Status for_normed_rows(LayerContext& context, const float* weight, Body&& body) {
  const std::int64_t tokens = context.batch.num_tokens();
  const auto epsilon = static_cast<float>(context.spec.norm_epsilon);
  const MatrixView hidden = context.activations.hidden(tokens);
  const MatrixView normed = context.activations.normed(tokens);
  const Residual residual = std::exchange(context.residual, {});
  const std::int64_t at_once = residual.rows_at_once > 0 ? residual.rows_at_once : tokens;
  return for_row_parts(tokens, at_once, [&](std::int64_t first, std::int64_t count) -> Status {
    TANDEM_TRY(const MatrixView part, take_part(context, residual, first, count));
    body(first, NormArgs{hidden.slice_rows(first, count), part, weight, epsilon,
                         normed.slice_rows(first, count)});
    return {};
  });
}

// Sums the ranks' partial results, applies the post-norm where the model has one (`post_norm` may
// be null), and leaves the sum to be added to hidden.
Status leave_reduced(LayerContext& context, MatrixView partial, const float* post_norm);

// partial = x * weight^T, reduced as above: in parts, where the group can sum one while the next is
// multiplied.
Status multiply_and_reduce(LayerContext& context, MatrixView x, const Weight& weight,
                           MatrixView partial, const float* post_norm);
// A rank's zeros where the others multiply_and_reduce().
Status reduce_nothing(LayerContext& context, MatrixView partial, const float* post_norm);

// The columns of `padded` that a row-parallel weight reads: `begin` is the first column of this
// rank's own in the whole matrix, `pad` the columns of `padded` before it.
MatrixView row_parallel_input(MatrixView padded, std::int64_t pad, const Weight& weight,
                              std::int64_t begin);

}  // namespace tandem
