#include "device/cuda/attention.h"

#include "base/check.h"
#include "device/cuda/attention/paged_attention.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/grid.h"
#include "device/cuda/kv_layout.h"

namespace tandem::cuda {
namespace {

// The plain attention that the fast ones (attention/) are held to, for Arithmetic::kFloat and for
// caches that they do not take: one warp makes one head of one token. It goes
// through the positions one after another with an online softmax (Milakov and Gimelshein, "Online
// normalizer calculation for softmax"); lanes hold head_dim / 32 numbers each.
constexpr int kMaxLaneNumbers = 16;  // head_dim up to 512
constexpr int kWarpsPerBlock = 4;

struct Call {
  MatrixView q;
  MatrixView out;
  KvView kv;
  const DeviceSequence* sequences;
  const std::int32_t* block_tables;
  const std::int32_t* sequence_of_token;
  std::int32_t num_q_heads;
  std::int32_t q_heads_per_kv_head;
  std::int32_t q_head_offset;
  float scale;
  float soft_cap;
  std::int32_t window;
};

template <ElementType kType>
__device__ float dot_key(const KvView& kv, std::int64_t row, const float (&q)[kMaxLaneNumbers]) {
  float sum = 0.0f;
  for (int i = 0; i < kMaxLaneNumbers && i * kWarp < kv.head_dim; ++i) {
    const int d = i * kWarp + static_cast<int>(threadIdx.x);
    if (d < kv.head_dim) sum += q[i] * kv_number<kType>(kv, kv.k, row, d);
  }
  return warp_sum(sum);
}

// Block: 32 x kWarpsPerBlock threads. Grid: heads / kWarpsPerBlock, tokens.
template <ElementType kType>
__global__ void attention_kernel(Call call) {
  const int head = static_cast<int>(blockIdx.x) * kWarpsPerBlock + static_cast<int>(threadIdx.y);
  if (head >= call.num_q_heads) return;
  const KvView& kv = call.kv;
  const int kv_head = (head + call.q_head_offset) / call.q_heads_per_kv_head;
  for (std::int64_t token = blockIdx.y; token < call.q.rows; token += gridDim.y) {
    const std::int32_t index = call.sequence_of_token[token];
    if (index < 0) continue;  // no sequence's: left as it is
    const DeviceSequence sequence = call.sequences[index];
    const int position = sequence.context_tokens - sequence.num_tokens + static_cast<int>(token) -
                         sequence.first_token;
    const int begin = call.window > 0 ? max(0, position - call.window + 1) : 0;

    float q[kMaxLaneNumbers], sum[kMaxLaneNumbers] = {};
    for (int i = 0; i < kMaxLaneNumbers && i * kWarp < kv.head_dim; ++i) {
      const int d = i * kWarp + static_cast<int>(threadIdx.x);
      q[i] = d < kv.head_dim ? row_of(call.q, token)[head * kv.head_dim + d] : 0.0f;
    }
    float largest = -INFINITY, total = 0.0f;
    for (int other = begin; other <= position; ++other) {
      const int block = call.block_tables[sequence.first_block + other / kv.block_tokens];
      const std::int64_t row = kv_row(kv, block, other % kv.block_tokens, kv_head);
      float score = call.scale * dot_key<kType>(kv, row, q);
      if (call.soft_cap > 0.0f) score = call.soft_cap * tanhf(score / call.soft_cap);
      const float highest = fmaxf(largest, score);
      const float shrink = expf(largest - highest), weight = expf(score - highest);
      largest = highest;
      total = total * shrink + weight;
      for (int i = 0; i < kMaxLaneNumbers && i * kWarp < kv.head_dim; ++i) {
        const int d = i * kWarp + static_cast<int>(threadIdx.x);
        if (d < kv.head_dim) {
          sum[i] = sum[i] * shrink + weight * kv_number<kType>(kv, kv.v, row, d);
        }
      }
    }
    for (int i = 0; i < kMaxLaneNumbers && i * kWarp < kv.head_dim; ++i) {
      const int d = i * kWarp + static_cast<int>(threadIdx.x);
      if (d < kv.head_dim) row_of(call.out, token)[head * kv.head_dim + d] = sum[i] / total;
    }
  }
}

}  // namespace

Status attention(CudaContext& context, const AttentionArgs& args,
                 const DeviceSequences& sequences) {
  if (context.arithmetic == Arithmetic::kInt8 && has_paged_attention(args.kv)) {
    TANDEM_TRY(void* scratch,
               context.scratch.take(paged_attention_scratch_bytes(args, sequences.limits)));
    return status_of(paged_attention(context.stream, args, sequences, scratch),
                     "cannot start attention");
  }
  TANDEM_CHECK(args.kv.head_dim <= kMaxLaneNumbers * kWarp, "heads of up to 512 numbers");
  const Call call{args.q,
                  args.out,
                  args.kv,
                  sequences.sequences,
                  sequences.block_tables,
                  sequences.sequence_of_token,
                  args.num_q_heads,
                  args.q_heads_per_kv_head,
                  args.q_head_offset,
                  args.scale,
                  args.soft_cap,
                  args.window};
  const auto blocks =
      static_cast<unsigned>((args.num_q_heads + kWarpsPerBlock - 1) / kWarpsPerBlock);
  const LaunchShape shape{dim3(blocks, static_cast<unsigned>(std::min(args.q.rows, kMaxGridRows))),
                          dim3(kWarp, kWarpsPerBlock), 0};
  const auto kernel = args.kv.type == ElementType::kF16   ? attention_kernel<ElementType::kF16>
                      : args.kv.type == ElementType::kF32 ? attention_kernel<ElementType::kF32>
                                                          : attention_kernel<ElementType::kQ8_0>;
  return status_of(launch(context.stream, kernel, shape, call), "cannot start attention");
}

}  // namespace tandem::cuda
