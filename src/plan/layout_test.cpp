#include "plan/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/units.h"
#include "plan/models_for_test.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::int64_t> sizes(const std::vector<Interval>& intervals) {
  std::vector<std::int64_t> out;
  for (const Interval& interval : intervals) out.push_back(interval.size());
  return out;
}

std::vector<LayoutDevice> devices(std::size_t count, std::size_t first = 0) {
  std::vector<LayoutDevice> out;
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back({"cuda:" + std::to_string(first + i), 1.0, 0});
  }
  return out;
}

Plan must_lay_out(const ModelSpec& spec, const LayoutRequest& request) {
  auto plan = lay_out(spec, request);
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().to_string());
  const auto status = validate(*plan, spec);
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().to_string());
  return *plan;
}

std::vector<std::int64_t> q_heads(const StagePlan& stage) {
  std::vector<std::int64_t> out;
  for (const RankPlan& rank : stage.ranks) out.push_back(rank.shard.q_heads.size());
  return out;
}

LayoutRequest one_group(std::size_t num_devices) {
  LayoutRequest request;
  request.stages = {devices(num_devices)};
  return request;
}

// Cores keep the blocks of the file as they are.
LayoutRequest one_group_of_cores(std::size_t num_devices) {
  LayoutRequest request = one_group(num_devices);
  for (LayoutDevice& device : request.stages[0]) device.id.replace(0, 4, "cpu");
  return request;
}

TEST(Apportion, SharesByLargestRemainder) {
  EXPECT_THAT(sizes(apportion(8, {1, 1, 1})), ElementsAre(3, 3, 2));
  EXPECT_THAT(sizes(apportion(10, {3, 1})), ElementsAre(8, 2));
  EXPECT_THAT(sizes(apportion(43, {1, 1})), ElementsAre(22, 21));
  EXPECT_THAT(sizes(apportion(2, {1, 1, 1, 1})), ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(sizes(apportion(0, {1, 2})), ElementsAre(0, 0));
}

TEST(Apportion, ZeroShareGetsNothing) {
  EXPECT_THAT(sizes(apportion(7, {0, 1, 1})), ElementsAre(0, 4, 3));
  EXPECT_THAT(sizes(apportion(5, {0, 0, 2})), ElementsAre(0, 0, 5));
}

TEST(Apportion, IsContiguous) {
  const auto intervals = apportion(101, {0.3, 0.1, 0.25, 0.35});
  std::int64_t next = 0;
  for (const Interval& interval : intervals) {
    EXPECT_EQ(interval.begin, next);
    next = interval.end;
  }
  EXPECT_EQ(next, 101);
}

TEST(LayOut, EightHeadsOverThreeDevices) {
  // Four KV heads of two query heads each: whole pairs are handed out.
  const ModelSpec spec = model_for_test({});
  const Plan plan = must_lay_out(spec, one_group(3));
  EXPECT_EQ(plan.split, SplitMode::kTensor);
  EXPECT_THAT(q_heads(plan.stages[0]), ElementsAre(4, 2, 2));
}

TEST(LayOut, MoreDevicesThanKvHeads) {
  // Five devices, four KV heads: query heads are cut, the KV head of a cut pair lies in both.
  const ModelSpec spec = model_for_test({});
  const Plan plan = must_lay_out(spec, one_group(5));
  EXPECT_THAT(q_heads(plan.stages[0]), ElementsAre(2, 2, 2, 1, 1));
  EXPECT_EQ(plan.stages[0].ranks[3].shard.kv_heads, (Interval{3, 4}));
  EXPECT_EQ(plan.stages[0].ranks[4].shard.kv_heads, (Interval{3, 4}));
  const Plan eight = must_lay_out(spec, one_group(8));
  EXPECT_THAT(q_heads(eight.stages[0]), ElementsAre(1, 1, 1, 1, 1, 1, 1, 1));
}

TEST(LayOut, MoreDevicesThanHeadsLeavesSomeWithout) {
  const ModelSpec spec = model_for_test({.q_heads = 2, .kv_heads = 1, .head_dim = 128});
  const Plan plan = must_lay_out(spec, one_group(3));
  EXPECT_THAT(q_heads(plan.stages[0]), ElementsAre(1, 1, 0));
  EXPECT_EQ(plan.stages[0].ranks[2].kv_bytes, 0);
  EXPECT_GT(plan.stages[0].ranks[2].shard.ffn.size(), 0);
}

TEST(LayOut, SixHeadsOverFourDevices) {
  const ModelSpec spec = model_for_test({.hidden = 192, .q_heads = 6, .kv_heads = 6});
  const Plan plan = must_lay_out(spec, one_group(4));
  EXPECT_THAT(q_heads(plan.stages[0]), ElementsAre(2, 2, 1, 1));
}

TEST(LayOut, FeedForwardIsCutAtQuantisationBlocks) {
  const ModelSpec spec = model_for_test({.ffn = 1280, .type = ElementType::kQ4_K});
  const Plan plan = must_lay_out(spec, one_group(3));
  for (const RankPlan& rank : plan.stages[0].ranks) EXPECT_EQ(rank.shard.ffn.begin % 256, 0);
}

TEST(LayOut, FortyThreeLayersOverTwoStages) {
  const ModelSpec spec = model_for_test({.layers = 43});
  LayoutRequest request;
  request.stages = {devices(1), devices(1, 1)};
  const Plan plan = must_lay_out(spec, request);
  EXPECT_EQ(plan.split, SplitMode::kLayer);
  EXPECT_EQ(plan.stages[0].num_layers, 22);
  EXPECT_EQ(plan.stages[1].num_layers, 21);
  EXPECT_EQ(plan.stages[0].ranks[0].shard.vocabulary.size(), 0);
  EXPECT_EQ(plan.stages[1].ranks[0].shard.vocabulary.size(), 1000);
}

TEST(LayOut, TheOutputMatrixIsCutOverAllStagesOfSingleDevices) {
  const ModelSpec spec = model_for_test({.layers = 6});
  LayoutRequest request;
  request.stages = {devices(1), devices(1, 1), devices(1, 2)};
  request.output_on_all_stages = true;
  const Plan plan = must_lay_out(spec, request);
  std::int64_t next = 0;
  for (const StagePlan& stage : plan.stages) {
    const RankShard& shard = stage.ranks[0].shard;
    EXPECT_TRUE(shard.has_output);
    EXPECT_EQ(shard.vocabulary.begin, next);
    // Shares are whole units of 32 rows, and the last unit of the matrix is not full.
    EXPECT_NEAR(static_cast<double>(shard.vocabulary.size()), 1000 / 3.0, 32 + 32);
    next = shard.vocabulary.end;
  }
  EXPECT_EQ(next, 1000);
  const auto back = plan_from_json(to_json(plan), spec);
  ASSERT_TRUE(back.ok()) << back.error().to_string();
  EXPECT_EQ(back->stages[0].ranks[0].shard, plan.stages[0].ranks[0].shard);

  request.stages = {devices(1), devices(2, 1)};
  const Plan grouped = must_lay_out(spec, request);
  EXPECT_FALSE(grouped.stages[0].ranks[0].shard.has_output);
  EXPECT_EQ(grouped.stages[1].ranks[1].shard.vocabulary.end, 1000);
}

TEST(LayOut, EveryStageGetsALayerHoweverSlow) {
  const ModelSpec spec = model_for_test({.layers = 3});
  LayoutRequest request;
  request.stages = {{{"a", 1000.0, 0}}, {{"b", 0.001, 0}}, {{"c", 0.001, 0}}};
  const Plan plan = must_lay_out(spec, request);
  for (const StagePlan& stage : plan.stages) EXPECT_EQ(stage.num_layers, 1);
}

TEST(LayOut, GroupsOfDifferentSizes) {
  const ModelSpec spec = model_for_test({.layers = 9});
  LayoutRequest request;
  request.stages = {devices(2), devices(1, 2)};
  const Plan plan = must_lay_out(spec, request);
  EXPECT_EQ(plan.split, SplitMode::kHybrid);
  EXPECT_EQ(plan.name, "2 stages x tensor 2+1");
  EXPECT_EQ(plan.stages[0].num_layers, 6);
  EXPECT_EQ(plan.stages[1].num_layers, 3);
  EXPECT_EQ(plan.num_ranks(), 3);
}

TEST(LayOut, UnevenSharesFollowSpeed) {
  const ModelSpec spec = model_for_test({.q_heads = 16, .kv_heads = 16, .ffn = 2048});
  LayoutRequest request;
  request.stages = {{{"a", 3.0, 0}, {"b", 1.0, 0}}};
  const Plan plan = must_lay_out(spec, request);
  EXPECT_THAT(q_heads(plan.stages[0]), ElementsAre(12, 4));
  EXPECT_EQ(plan.stages[0].ranks[0].shard.ffn, (Interval{0, 1536}));
  EXPECT_DOUBLE_EQ(plan.stages[0].ranks[0].share, 0.75);
}

TEST(LayOut, ExpertsByWidthOrByExpert) {
  const ModelSpec spec = model_for_test({.ffn = 256, .experts = 10});
  LayoutRequest request = one_group(3);
  const Plan by_width = must_lay_out(spec, request);
  for (const RankPlan& rank : by_width.stages[0].ranks) EXPECT_EQ(rank.shard.experts.size(), 10);
  request.split_by_expert = true;
  const Plan by_expert = must_lay_out(spec, request);
  EXPECT_TRUE(by_expert.split_by_expert);
  std::vector<std::int64_t> counts;
  for (const RankPlan& rank : by_expert.stages[0].ranks) {
    counts.push_back(rank.shard.experts.size());
    EXPECT_EQ(rank.shard.ffn.size(), 256);
  }
  EXPECT_THAT(counts, ElementsAre(4, 3, 3));
}

TEST(LayOut, WeightsOfAllRanksAddUpToTheModel) {
  // One device holds everything but the embedding, which is read from the file.
  const ModelSpec spec = model_for_test({.ffn = 1024});
  const std::int64_t whole =
      must_lay_out(spec, one_group_of_cores(1)).stages[0].ranks[0].weights_bytes;
  EXPECT_EQ(whole, spec.weight_bytes() - spec.find(TensorRole::kTokenEmbedding)->size_bytes());
  const Plan plan = must_lay_out(spec, one_group_of_cores(4));
  std::int64_t sum = 0;
  std::int64_t replicated = 0;
  for (const RankPlan& rank : plan.stages[0].ranks) sum += rank.weights_bytes;
  for (const TensorSpec& tensor : spec.tensors) {
    if (shard_of(tensor, spec, whole_model(spec)).kind == Shard::Kind::kReplicated) {
      replicated += tensor.size_bytes();
    }
  }
  EXPECT_EQ(sum, whole + 3 * replicated);
}

// GPUs fill rows up to 16, columns to 64 and buffers to 256 bytes, and exchange through 8 MiB each.
TEST(LayOut, GpusHoldMoreThanTheFilesBlocks) {
  const ModelSpec spec = model_for_test({.ffn = 1024});
  const RankPlan gpu = must_lay_out(spec, one_group(1)).stages[0].ranks[0];
  const RankPlan cores = must_lay_out(spec, one_group_of_cores(1)).stages[0].ranks[0];
  EXPECT_GT(gpu.weights_bytes, cores.weights_bytes);
  EXPECT_LT(gpu.weights_bytes, cores.weights_bytes + cores.weights_bytes / 100);
  EXPECT_EQ(gpu.kv_bytes, cores.kv_bytes);
  EXPECT_GT(gpu.compute_bytes, cores.compute_bytes);
  const Plan two = must_lay_out(spec, one_group(2));
  EXPECT_GT(two.stages[0].ranks[0].compute_bytes, std::int64_t{8} << 20);
  EXPECT_LT(gpu.compute_bytes, std::int64_t{8} << 20);
}

TEST(LayOut, KvBytesFollowContextSequencesAndType) {
  const ModelSpec spec = model_for_test({});
  LayoutRequest request = one_group(1);
  request.context_tokens = 100;  // four blocks of 32
  request.max_sequences = 3;
  const std::int64_t tokens = 4 * 32 * 3;
  EXPECT_EQ(must_lay_out(spec, request).stages[0].ranks[0].kv_bytes, tokens * 4 * 2 * 4 * 32 * 2);
  request.kv_type = ElementType::kQ8_0;
  EXPECT_EQ(must_lay_out(spec, request).stages[0].ranks[0].kv_bytes, tokens * 4 * 2 * 4 * 34);
}

TEST(LayOut, SaysHowMuchIsMissing) {
  const ModelSpec spec = model_for_test({});
  LayoutRequest request = one_group(2);
  request.stages[0][1].capacity_bytes = kMiB;
  const auto plan = lay_out(spec, request);
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->fits);
  EXPECT_THAT(plan->why_not, HasSubstr("cuda:1 needs"));
  EXPECT_THAT(plan->why_not, HasSubstr("too little"));
}

TEST(LayOut, RefusesRequestsThatMakeNoSense) {
  const ModelSpec spec = model_for_test({.layers = 2});
  const auto refuses = [&](const LayoutRequest& request, const char* text) {
    const auto plan = lay_out(spec, request);
    ASSERT_FALSE(plan.ok()) << text;
    EXPECT_THAT(plan.error().to_string(), HasSubstr(text));
  };
  LayoutRequest request;
  refuses(request, "at least one device");
  request.stages = {devices(1), devices(1, 1), devices(1, 2)};
  refuses(request, "more pipeline stages than layers");
  request.stages = {devices(1), {}};
  refuses(request, "without a device");
  request.stages = {{{"a", -1.0, 0}}};
  refuses(request, "0 or more");
  request.stages = {{{"a", std::numeric_limits<double>::quiet_NaN(), 0}}};
  refuses(request, "0 or more");
  request.stages = {{{"a", 0.0, 0}}};
  refuses(request, "sum to nothing");
  request.stages = {devices(1), devices(1, 1)};
  request.layers_per_stage = {1, 2};
  refuses(request, "do not add up");
  request.layers_per_stage = {2, 0};
  refuses(request, "without layers");
  request.layers_per_stage = {};
  request.kv_type = ElementType::kQ4_K;
  refuses(request, "KV cache type");
  request.kv_type = ElementType::kF16;
  request.context_tokens = std::numeric_limits<std::int64_t>::max();
  request.max_sequences = 1000;
  refuses(request, "beyond any machine");
}

TEST(Validate, FindsGapsAndOverlaps) {
  const ModelSpec spec = model_for_test({});
  const Plan good = must_lay_out(spec, one_group(2));
  const auto refuses = [&](auto&& spoil, const char* text) {
    Plan plan = good;
    spoil(plan);
    const auto status = validate(plan, spec);
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_THAT(status.error().to_string(), HasSubstr(text));
  };
  const auto shard = [](Plan& plan, std::size_t i) -> RankShard& {
    return plan.stages[0].ranks[i].shard;
  };
  refuses([&](Plan& p) { shard(p, 1).q_heads.begin += 2; }, "query heads");
  refuses([&](Plan& p) { shard(p, 1).ffn.end -= 32; }, "feed-forward columns");
  refuses([&](Plan& p) { shard(p, 0).vocabulary.end += 1; }, "vocabulary rows");
  refuses([&](Plan& p) { shard(p, 0).kv_heads.end -= 1; }, "KV heads");
  refuses([&](Plan& p) { shard(p, 0).has_output = false; }, "embedding and output");
  refuses([&](Plan& p) { shard(p, 0).num_layers = 3; }, "layers differ");
  refuses([&](Plan& p) { p.stages[0].num_layers = 3; }, "layers");
  refuses([&](Plan& p) { p.stages.clear(); }, "no stages");
  refuses([&](Plan& p) { p.kv.num_blocks = 0; }, "KV blocks");
}

TEST(Validate, EarlyStagesComputeLogitsOnlyWhereTheyAreSingleDevices) {
  const ModelSpec spec = model_for_test({.layers = 4});
  LayoutRequest request;
  request.stages = {devices(1), devices(1, 1)};
  request.output_on_all_stages = true;
  Plan gap = must_lay_out(spec, request);
  gap.stages[1].ranks[0].shard.vocabulary.begin += 32;
  EXPECT_THAT(validate(gap, spec).error().to_string(), HasSubstr("vocabulary rows"));

  request.stages = {devices(1), devices(2, 1)};
  Plan grouped = must_lay_out(spec, request);
  grouped.stages[0].ranks[0].shard.has_output = true;
  grouped.stages[0].ranks[0].shard.vocabulary = {0, 32};
  grouped.stages[1].ranks[0].shard.vocabulary.begin = 32;
  EXPECT_THAT(validate(grouped, spec).error().to_string(), HasSubstr("early stage"));
}

}  // namespace
}  // namespace tandem
