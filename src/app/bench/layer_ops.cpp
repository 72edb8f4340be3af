#include "app/bench/layer_ops.h"

#include <array>
#include <numeric>
#include <vector>

namespace tandem::layer_ops {
namespace {

constexpr std::int32_t kNumBlocks = kContext / kBlockTokens;

KvView next_layer(KernelLab::Bench& bench) {
  auto* base = static_cast<std::byte*>(bench.cache->data()) +
               kLayerCacheBytes * static_cast<std::int64_t>(bench.next_layer);
  bench.next_layer = (bench.next_layer + 1) % kLayers;
  return {
      base,    base + kLayerCacheBytes / 2, ElementType::kF16, kNumBlocks, kBlockTokens, kKvHeads,
      kHeadDim};
}

// Arguments that ops read after the call that names them: they live as long as the program.
struct Constants {
  std::vector<float> norm = std::vector<float>(kHidden, 1.0f);
  std::vector<float> frequencies = std::vector<float>(kHeadDim / 2, 0.01f);
  std::vector<std::int32_t> positions = std::vector<std::int32_t>(KernelLab::kMostRows);
  std::vector<std::int64_t> slots = std::vector<std::int64_t>(KernelLab::kMostRows);
  std::vector<std::int32_t> blocks = std::vector<std::int32_t>(kNumBlocks);
  Constants() {
    std::iota(positions.begin(), positions.end(), 0);
    std::iota(slots.begin(), slots.end(), 0);
    std::iota(blocks.begin(), blocks.end(), 0);
  }
};
const Constants& constants() {
  static const Constants all;
  return all;
}

}  // namespace

void hidden_ops(KernelLab::Bench& bench, std::int32_t tokens) {
  Stream& stream = *bench.stream;
  const MatrixView x = dense(bench.x->floats(), tokens, kHidden);
  const MatrixView normed = dense(bench.y->floats(), tokens, kHidden);
  for (int half = 0; half < 2; ++half) {
    stream.rms_norm(x, constants().norm.data(), 1e-5f, normed);
    stream.add(normed, x);  // into y, so that x stays what it is
  }
}

void width_ops(KernelLab::Bench& bench, std::int32_t tokens) {
  Stream& stream = *bench.stream;
  RopeArgs rope;
  rope.head_dim = rope.rope_dims = kHeadDim;
  rope.inverse_frequencies = constants().frequencies.data();
  rope.positions = constants().positions.data();
  rope.x = dense(bench.zeros->floats(), tokens, kHeads * kHeadDim);
  stream.rope(rope);
  const MatrixView keys = dense(bench.zeros->floats(), tokens, kKvHeads * kHeadDim);
  rope.x = keys;
  stream.rope(rope);
  stream.store_kv(keys, keys, next_layer(bench),
                  std::span(constants().slots).first(static_cast<std::size_t>(tokens)));
  const MatrixView gate = dense(bench.zeros->floats(), tokens, 2 * kFeedForward);
  stream.gated_activation(GateKind::kSilu, gate.slice_columns(0, kFeedForward),
                          gate.slice_columns(kFeedForward, kFeedForward));
}

void attention(KernelLab::Bench& bench, std::int32_t tokens, std::int32_t context) {
  bench.sequence = {0, tokens, context, constants().blocks};
  AttentionArgs args;
  args.q = dense(bench.x->floats(), tokens, kHeads * kHeadDim);
  args.out = dense(bench.y->floats(), tokens, kHeads * kHeadDim);
  args.kv = next_layer(bench);
  args.sequences = {&bench.sequence, 1};
  args.num_q_heads = kHeads;
  args.q_heads_per_kv_head = kHeads / kKvHeads;
  args.scale = 0.0883883f;  // 1 / sqrt(kHeadDim)
  bench.stream->attention(args);
}

}  // namespace tandem::layer_ops
