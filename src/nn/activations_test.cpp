#include "nn/activations.h"

#include <gtest/gtest.h>

#include "nn/kv_cache.h"

namespace tandem {
namespace {

ModelSpec spec_for_test(std::int32_t experts) {
  ModelSpec spec;
  spec.vocabulary_size = 500;
  spec.hidden_size = 128;
  spec.num_layers = 3;
  spec.attention.num_q_heads = 6;
  spec.attention.num_kv_heads = 3;
  spec.attention.head_dim = 40;
  spec.feed_forward.width = 352;
  spec.feed_forward.num_experts = experts;
  spec.feed_forward.num_experts_used = experts > 0 ? 2 : 0;
  spec.tensors = usual_tensors(spec, ElementType::kQ8_0);
  return spec;
}

std::unique_ptr<Device> device_for_test() {
  CpuDeviceOptions options;
  options.cores = {0};
  options.pin_threads = false;
  return std::move(create_cpu_device("cpu:0", options)).value();
}

// A plan reckons with total_bytes(); the rank allocates buffer by buffer.
void expect_as_planned(const ModelSpec& spec, const RankShard& shard) {
  const auto device = device_for_test();
  const auto stream = device->create_stream();
  const ActivationSizes sizes = activation_sizes_of(spec, shard, 24, 5);
  auto made = Activations::create(*device, *stream, sizes);
  ASSERT_TRUE(made.ok()) << made.error().to_string();
  EXPECT_EQ(made->size_bytes(), sizes.total_bytes());
}

TEST(Activations, OfADenseModelAreAsPlanned) {
  const ModelSpec spec = spec_for_test(0);
  expect_as_planned(spec, whole_model(spec));
}

TEST(Activations, OfAnUnevenShardAreAsPlanned) {
  const ModelSpec spec = spec_for_test(0);
  RankShard shard = whole_model(spec);
  shard.first_layer = 1;
  shard.num_layers = 2;
  shard.q_heads = {3, 5};
  shard.kv_heads = {1, 3};
  shard.ffn = {100, 300};
  shard.vocabulary = {33, 447};
  expect_as_planned(spec, shard);
}

TEST(Activations, OfAStageWithoutOutputAreAsPlanned) {
  const ModelSpec spec = spec_for_test(0);
  RankShard shard = whole_model(spec);
  shard.has_output = false;
  shard.vocabulary = {0, 0};
  expect_as_planned(spec, shard);
}

TEST(Activations, OfExpertsAreAsPlanned) {
  const ModelSpec spec = spec_for_test(5);
  expect_as_planned(spec, whole_model(spec));
  RankShard by_width = whole_model(spec);
  by_width.ffn = {10, 90};
  expect_as_planned(spec, by_width);
  RankShard by_expert = whole_model(spec);
  by_expert.experts = {1, 3};
  expect_as_planned(spec, by_expert);
}

TEST(Activations, OfARankThatHoldsNothingAreAsPlanned) {
  for (const std::int32_t experts : {0, 5}) {
    const ModelSpec spec = spec_for_test(experts);
    RankShard shard = whole_model(spec);
    shard.q_heads = shard.kv_heads = shard.ffn = shard.experts = shard.vocabulary = {0, 0};
    expect_as_planned(spec, shard);
  }
}

TEST(Activations, PaddingColumnsBeginAsZeros) {
  const ModelSpec spec = spec_for_test(0);
  RankShard shard = whole_model(spec);
  shard.ffn = {100, 300};  // Q8_0 blocks of 32: columns 96 to 320
  const auto device = device_for_test();
  const auto stream = device->create_stream();
  const ActivationSizes sizes = activation_sizes_of(spec, shard, 3, 1);
  EXPECT_EQ(sizes.gate, 224);
  EXPECT_EQ(sizes.gate_pad, 4);
  auto made = Activations::create(*device, *stream, sizes);
  ASSERT_TRUE(made.ok() && stream->synchronize(1'000'000).ok());
  const MatrixView gate = made->gate(3);
  for (std::int64_t row = 0; row < 3; ++row) {
    for (std::int64_t column = 0; column < gate.columns; ++column) {
      EXPECT_EQ(gate.row(row)[column], 0.0f);
    }
  }
}

TEST(KvCache, AllocatesWhatItsPlanReckons) {
  ModelSpec spec = spec_for_test(0);
  spec.attention.head_dim = 64;
  RankShard shard = whole_model(spec);
  shard.num_layers = 2;
  shard.kv_heads = {1, 3};
  const auto device = device_for_test();
  for (const ElementType type : {ElementType::kF16, ElementType::kF32, ElementType::kQ8_0}) {
    const auto cache = KvCache::create(*device, spec, shard, {type, 7, 16});
    ASSERT_TRUE(cache.ok()) << cache.error().to_string();
    EXPECT_EQ(cache->size_bytes(), kv_bytes_per_token(spec, shard, type) * 7 * 16);
    const KvView layer = cache->layer(1);
    EXPECT_NE(layer.k, layer.v);
    EXPECT_NE(layer.k, cache->layer(0).k);
    EXPECT_EQ(layer.num_kv_heads, 2);
    EXPECT_EQ(layer.block_tokens, 16);
  }
}

TEST(KvCache, OfARankWithoutHeadsIsEmpty) {
  const ModelSpec spec = spec_for_test(0);
  RankShard shard = whole_model(spec);
  shard.q_heads = shard.kv_heads = {0, 0};
  const auto device = device_for_test();
  const auto cache = KvCache::create(*device, spec, shard, {ElementType::kF16, 7, 16});
  ASSERT_TRUE(cache.ok());
  EXPECT_EQ(cache->size_bytes(), 0);
  EXPECT_EQ(cache->layer(2).k, nullptr);
}

}  // namespace
}  // namespace tandem
