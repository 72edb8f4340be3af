#include "model/rank_shard.h"

#include <gtest/gtest.h>

#include <set>

namespace tandem {
namespace {

ModelSpec spec_for_test(std::int32_t experts = 0) {
  ModelSpec spec;
  spec.vocabulary_size = 512;
  spec.hidden_size = 256;
  spec.num_layers = 4;
  spec.attention.num_q_heads = 8;
  spec.attention.num_kv_heads = 2;
  spec.attention.head_dim = 32;
  spec.feed_forward.width = 768;
  spec.feed_forward.num_experts = experts;
  spec.feed_forward.num_experts_used = experts > 0 ? 2 : 0;
  spec.tensors = usual_tensors(spec, ElementType::kQ4_K);
  return spec;
}

Shard shard_of_role(const ModelSpec& spec, TensorRole role, std::int32_t layer,
                    const RankShard& rank) {
  const TensorSpec* tensor = spec.find(role, layer);
  EXPECT_NE(tensor, nullptr);
  return shard_of(*tensor, spec, rank);
}

// The second of two ranks: query heads 4 to 8, which read KV head 1.
RankShard second_half(const ModelSpec& spec) {
  RankShard rank = whole_model(spec);
  rank.q_heads = {4, 8};
  rank.kv_heads = kv_heads_of(spec.attention, rank.q_heads);
  rank.ffn = {384, 768};
  rank.vocabulary = {256, 512};
  return rank;
}

TEST(KvHeadsOf, CoverEveryQueryHead) {
  AttentionSpec attention;
  attention.num_q_heads = 12;
  attention.num_kv_heads = 3;
  for (std::int64_t begin = 0; begin < 12; ++begin) {
    for (std::int64_t end = begin + 1; end <= 12; ++end) {
      std::set<std::int64_t> read;
      for (std::int64_t head = begin; head < end; ++head) read.insert(head / 4);
      const Interval got = kv_heads_of(attention, {begin, end});
      EXPECT_EQ(got, (Interval{*read.begin(), *read.rbegin() + 1})) << begin << " to " << end;
    }
  }
  EXPECT_TRUE(kv_heads_of(attention, {5, 5}).empty());
}

TEST(WidenToBlocks, GrowsToWholeBlocksOfTheType) {
  EXPECT_EQ(widen_to_blocks(ElementType::kQ8_0, {33, 64}), (Interval{32, 64}));
  EXPECT_EQ(widen_to_blocks(ElementType::kQ8_0, {31, 65}), (Interval{0, 96}));
  EXPECT_EQ(widen_to_blocks(ElementType::kQ4_K, {256, 300}), (Interval{256, 512}));
  EXPECT_EQ(widen_to_blocks(ElementType::kF16, {33, 65}), (Interval{33, 65}));
}

TEST(ShardOf, SplitsColumnParallelByRowsAndRowParallelByColumns) {
  const ModelSpec spec = spec_for_test();
  const RankShard rank = second_half(spec);
  const auto rows = [](std::int64_t begin, std::int64_t end) {
    return Shard::split(ShardAxis::kRows, {{begin, end}});
  };
  const auto columns = [](std::int64_t begin, std::int64_t end) {
    return Shard::split(ShardAxis::kColumns, {{begin, end}});
  };
  EXPECT_EQ(shard_of_role(spec, TensorRole::kQuery, 1, rank), rows(128, 256));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kKey, 1, rank), rows(32, 64));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kValue, 1, rank), rows(32, 64));
  // 128 to 256, widened to blocks of 256.
  EXPECT_EQ(shard_of_role(spec, TensorRole::kAttentionOutput, 1, rank), columns(0, 256));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kGate, 1, rank), rows(384, 768));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kUp, 1, rank), rows(384, 768));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kDown, 1, rank), columns(256, 768));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kOutput, -1, rank), rows(256, 512));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kAttentionNorm, 1, rank), Shard::replicated());
}

TEST(ShardOf, CutsFusedMatricesInSegments) {
  ModelSpec spec = spec_for_test();
  spec.attention.fused_qkv = true;
  spec.feed_forward.fused_gate_up = true;
  spec.tensors = usual_tensors(spec, ElementType::kQ4_K);
  const RankShard rank = second_half(spec);
  // Queries end at row 256, keys at 320, values at 384.
  EXPECT_EQ(shard_of_role(spec, TensorRole::kQueryKeyValue, 0, rank),
            Shard::split(ShardAxis::kRows, {{128, 256}, {288, 320}, {352, 384}}));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kGateUp, 0, rank),
            Shard::split(ShardAxis::kRows, {{384, 768}, {1152, 1536}}));
}

TEST(ShardOf, GivesBiasesWithTheirRows) {
  ModelSpec spec = spec_for_test();
  spec.attention.has_bias = true;
  spec.tensors = usual_tensors(spec, ElementType::kQ4_K);
  const RankShard rank = second_half(spec);
  EXPECT_EQ(shard_of_role(spec, TensorRole::kQueryBias, 0, rank),
            Shard::split(ShardAxis::kColumns, {{128, 256}}));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kKeyBias, 0, rank),
            Shard::split(ShardAxis::kColumns, {{32, 64}}));
}

TEST(ShardOf, CutsExpertsByWidthOrByExpert) {
  const ModelSpec spec = spec_for_test(4);
  RankShard by_width = whole_model(spec);
  by_width.ffn = {0, 384};
  EXPECT_EQ(shard_of_role(spec, TensorRole::kExpertGate, 0, by_width),
            Shard::split(ShardAxis::kRows, {{0, 384}}));
  EXPECT_EQ(shard_of_role(spec, TensorRole::kExpertDown, 0, by_width),
            Shard::split(ShardAxis::kColumns, {{0, 512}}));
  RankShard by_expert = whole_model(spec);
  by_expert.experts = {1, 3};
  for (const TensorRole role :
       {TensorRole::kExpertGate, TensorRole::kExpertUp, TensorRole::kExpertDown}) {
    EXPECT_EQ(shard_of_role(spec, role, 0, by_expert), Shard::split(ShardAxis::kExperts, {{1, 3}}));
  }
  EXPECT_EQ(shard_of_role(spec, TensorRole::kRouter, 0, by_expert), Shard::replicated());
}

TEST(ShardOf, HoldsNothingOfOtherStagesNorTheEmbedding) {
  const ModelSpec spec = spec_for_test();
  RankShard first = whole_model(spec);
  first.num_layers = 2;
  first.has_output = false;
  const Shard nothing = Shard::split(ShardAxis::kRows, {});
  EXPECT_EQ(shard_of_role(spec, TensorRole::kQuery, 2, first), nothing);
  EXPECT_EQ(shard_of_role(spec, TensorRole::kAttentionNorm, 3, first), nothing);
  EXPECT_EQ(shard_of_role(spec, TensorRole::kOutput, -1, first), nothing);
  EXPECT_EQ(shard_of_role(spec, TensorRole::kOutputNorm, -1, first), nothing);
  EXPECT_EQ(shard_of_role(spec, TensorRole::kTokenEmbedding, -1, first), nothing);
  EXPECT_EQ(shard_of_role(spec, TensorRole::kQuery, 1, first).size(), 256);
}

TEST(ShardOf, ARankWithoutHeadsHoldsNoneOfTheirWeights) {
  const ModelSpec spec = spec_for_test();
  RankShard rank = whole_model(spec);
  rank.q_heads = rank.kv_heads = {3, 3};
  for (const TensorRole role : {TensorRole::kQuery, TensorRole::kKey, TensorRole::kAttentionOutput})
    EXPECT_EQ(shard_of_role(spec, role, 0, rank).size(), 0);
}

TEST(WeightBytes, OfTheWholeModelAreAllButTheEmbedding) {
  const ModelSpec spec = spec_for_test();
  EXPECT_EQ(weight_bytes_of(spec, whole_model(spec)),
            spec.weight_bytes() - spec.find(TensorRole::kTokenEmbedding)->size_bytes());
}

TEST(WeightBytes, OfATiedModelCountTheEmbeddingAsOutput) {
  ModelSpec spec = spec_for_test();
  spec.tied_embeddings = true;
  spec.tensors = usual_tensors(spec, ElementType::kQ4_K);
  ASSERT_EQ(spec.find(TensorRole::kOutput), nullptr);
  EXPECT_EQ(weight_bytes_of(spec, whole_model(spec)), spec.weight_bytes());
  RankShard first_stage = whole_model(spec);
  first_stage.has_output = false;
  first_stage.num_layers = 0;
  EXPECT_EQ(weight_bytes_of(spec, first_stage), 0);
}

TEST(WeightBytes, OfTwoRanksAddUpWhereNoBlockIsCut) {
  const ModelSpec spec = spec_for_test();
  RankShard first = whole_model(spec);
  first.q_heads = {0, 4};  // 128 columns: half a Q4_K block of the output projection
  first.kv_heads = {0, 1};
  first.ffn = {0, 512};
  first.vocabulary = {0, 256};
  RankShard second = second_half(spec);
  second.ffn = {512, 768};
  std::int64_t replicated = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    const bool is_norm = tensor.type == ElementType::kF32;
    const bool is_widened = tensor.role == TensorRole::kAttentionOutput;
    if (is_norm || is_widened) replicated += tensor.size_bytes();
  }
  EXPECT_EQ(weight_bytes_of(spec, first) + weight_bytes_of(spec, second),
            weight_bytes_of(spec, whole_model(spec)) + replicated);
}

TEST(KvBytesPerToken, CountKeysAndValuesOfTheRanksHeads) {
  const ModelSpec spec = spec_for_test();
  RankShard rank = second_half(spec);
  rank.num_layers = 3;
  EXPECT_EQ(kv_bytes_per_token(spec, rank, ElementType::kF16), 2 * 3 * 1 * 32 * 2);
  EXPECT_EQ(kv_bytes_per_token(spec, rank, ElementType::kF32), 2 * 3 * 1 * 32 * 4);
  EXPECT_EQ(kv_bytes_per_token(spec, rank, ElementType::kQ8_0), 2 * 3 * 1 * 34);
}

}  // namespace
}  // namespace tandem
