#include "model/activation_sizes.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

ModelSpec spec_for_test(std::int32_t experts = 0) {
  ModelSpec spec;
  spec.vocabulary_size = 512;
  spec.hidden_size = 128;
  spec.num_layers = 4;
  spec.attention.num_q_heads = 8;
  spec.attention.num_kv_heads = 4;
  spec.attention.head_dim = 24;
  spec.feed_forward.width = 320;
  spec.feed_forward.num_experts = experts;
  spec.feed_forward.num_experts_used = experts > 0 ? 2 : 0;
  spec.tensors = usual_tensors(spec, ElementType::kQ8_0);
  return spec;
}

RankShard middle(const ModelSpec& spec) {
  RankShard rank = whole_model(spec);
  rank.q_heads = {3, 5};  // columns 72 to 120
  rank.kv_heads = {1, 3};
  rank.ffn = {100, 200};
  rank.vocabulary = {64, 128};
  return rank;
}

TEST(ActivationSizes, PadToTheBlocksOfTheRowParallelWeights) {
  const ModelSpec spec = spec_for_test();
  const ActivationSizes sizes = activation_sizes_of(spec, middle(spec), 16, 2);
  EXPECT_EQ(sizes.hidden, 128);
  EXPECT_EQ(sizes.q, 48);
  EXPECT_EQ(sizes.kv, 48);
  EXPECT_EQ(sizes.attention_out, 64);  // 64 to 128
  EXPECT_EQ(sizes.attention_out_pad, 8);
  EXPECT_EQ(sizes.ffn, 100);
  EXPECT_EQ(sizes.gate, 128);  // 96 to 224
  EXPECT_EQ(sizes.gate_pad, 4);
  EXPECT_EQ(sizes.vocabulary, 64);
}

TEST(ActivationSizes, PadToTheWidestBlocksWhereLayersDiffer) {
  ModelSpec spec = spec_for_test();
  for (TensorSpec& tensor : spec.tensors) {
    if (tensor.role == TensorRole::kDown && tensor.layer == 2) tensor.type = ElementType::kQ4_K;
  }
  const ActivationSizes sizes = activation_sizes_of(spec, middle(spec), 16, 2);
  EXPECT_EQ(sizes.gate, 256);  // 0 to 256
  EXPECT_EQ(sizes.gate_pad, 100);
  RankShard first_layers = middle(spec);
  first_layers.num_layers = 2;
  EXPECT_EQ(activation_sizes_of(spec, first_layers, 16, 2).gate, 128);
}

TEST(ActivationSizes, NeedNothingWhereARankIsIdle) {
  const ModelSpec dense = spec_for_test();
  RankShard rank = whole_model(dense);
  rank.ffn = {320, 320};
  rank.q_heads = rank.kv_heads = {8, 8};
  rank.has_output = false;
  const ActivationSizes sizes = activation_sizes_of(dense, rank, 16, 2);
  EXPECT_EQ(sizes.gate + sizes.ffn + sizes.gate_pad, 0);
  EXPECT_EQ(sizes.q + sizes.kv + sizes.attention_out, 0);
  EXPECT_EQ(sizes.vocabulary, 0);
  const ModelSpec mixture = spec_for_test(4);
  RankShard no_experts = whole_model(mixture);
  no_experts.experts = {4, 4};
  EXPECT_EQ(activation_sizes_of(mixture, no_experts, 16, 2).gate, 0);
}

TEST(ActivationSizes, TotalCountsEveryBufferOnce) {
  const ModelSpec dense = spec_for_test();
  const ActivationSizes sizes = activation_sizes_of(dense, whole_model(dense), 10, 3);
  // hidden x3, q, k, v, heads' results, gate, up, position; a row: two of hidden, logits, the best
  // of them with their tokens, the largest and the sum of exponentials.
  const std::int64_t token = 3 * 128 + 192 + 96 + 96 + 192 + 320 + 320 + 1;
  const std::int64_t row = 2 * 128 + 512 + 2 * 64 + 2;
  EXPECT_EQ(sizes.total_bytes(), 4 * (10 * token + 3 * row));

  const ModelSpec mixture = spec_for_test(5);
  const ActivationSizes expert_sizes = activation_sizes_of(mixture, whole_model(mixture), 10, 3);
  // Gate, up and the experts' results once a choice; router logits, ids and weights.
  const std::int64_t routed = 3 * 128 + 192 + 96 + 96 + 192 + 2 * (320 + 320 + 128) + 5 + 2 + 2 + 1;
  EXPECT_EQ(expert_sizes.total_bytes(), 4 * (10 * routed + 3 * row));
}

}  // namespace
}  // namespace tandem
