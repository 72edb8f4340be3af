#include "device/cuda/attention/attention_merge.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 128;

// Grid: [tokens of split sequences, query heads]; a thread a number of the head.
__global__ void __launch_bounds__(kThreads) merge_parts(AttentionBatch batch) {
  const auto token = static_cast<std::int32_t>(blockIdx.x);
  const auto head = static_cast<std::int32_t>(blockIdx.y);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const ItemPlace place = find_item(batch.num_sequences, token, 1, lane, [&](std::int32_t s) {
    const DeviceSequence& sequence = batch.sequences[s];
    return is_split(batch, sequence) ? sequence.num_tokens : 0;
  });
  if (place.sequence < 0) return;
  const DeviceSequence& sequence = batch.sequences[place.sequence];
  const std::int32_t end = sequence.context_tokens - sequence.num_tokens + place.first_row + 1;
  const std::int32_t begin = batch.window > 0 && end > batch.window ? end - batch.window : 0;
  const SplitRange splits = splits_of(begin, end, split_positions(sequence.context_tokens));
  const std::int32_t num_splits = splits.last - splits.first + 1;
  if (num_splits <= 1) return;
  const std::int64_t index = static_cast<std::int64_t>(token) * batch.num_q_heads + head;
  const std::int64_t out_row = sequence.first_token + place.first_row;
  const float* parts = batch.parts + index * batch.max_splits * (2 + batch.head_dim);
  float largest = kNoScore;
  for (std::int32_t i = 0; i < num_splits; ++i) {
    largest = fmaxf(largest, parts[i * (2 + batch.head_dim)]);
  }
  for (auto column = static_cast<std::int32_t>(threadIdx.x); column < batch.head_dim;
       column += static_cast<std::int32_t>(kThreads)) {
    float sum = 0.0f, out = 0.0f;
    for (std::int32_t i = 0; i < num_splits; ++i) {
      const float* part = parts + i * (2 + batch.head_dim);
      const float factor = exp2f((part[0] - largest) * kLog2E);
      sum = fmaf(part[1], factor, sum);
      out = fmaf(part[2 + column], factor, out);
    }
    float* to =
        batch.out + out_row * batch.out_stride + static_cast<std::int64_t>(head) * batch.head_dim;
    to[column] = out / sum;
  }
}

}  // namespace

cudaError_t merge_splits(cudaStream_t stream, const AttentionBatch& batch,
                         std::int32_t max_tokens) {
  const LaunchShape shape{
      dim3(static_cast<unsigned>(max_tokens), static_cast<unsigned>(batch.num_q_heads)),
      dim3(kThreads), 0};
  return launch(stream, merge_parts, shape, batch);
}

}  // namespace tandem::cuda
