#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plan/layout.h"
#include "plan/models_for_test.h"

namespace tandem {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

ModelSpec dense() {
  return model_for_test({.layers = 5});
}

Plan hybrid(const ModelSpec& spec) {
  LayoutRequest request;
  request.stages = {{{"cuda:0", 2.0, 1 << 30}, {"cuda:1", 1.0, 1 << 30}}, {{"cpu:0-3", 1.0, 0}}};
  request.kv_type = ElementType::kQ8_0;
  request.max_sequences = 4;
  auto plan = lay_out(spec, request);
  EXPECT_TRUE(plan.ok());
  return *plan;
}

TEST(PlanJson, RoundTrips) {
  const ModelSpec spec = dense();
  Plan plan = hybrid(spec);
  plan.predicted = Prediction{100.5, 20.25, 18.0, 22.0};
  plan.scaling = ScalingReport{3, 3.0, 2.1, 0.7, {0.05, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025}};
  plan.power_w = 350.0;
  plan.notes = {"one", "two"};
  const Json json = to_json(plan);
  const auto back = plan_from_json(Json::parse(json.dump()), spec);
  ASSERT_TRUE(back.ok()) << back.error().to_string();
  EXPECT_EQ(to_json(*back), json);
  EXPECT_EQ(back->stages[0].ranks[0].shard, plan.stages[0].ranks[0].shard);
  EXPECT_EQ(back->stages[1].ranks[0].shard, plan.stages[1].ranks[0].shard);
  EXPECT_EQ(back->kv.type, ElementType::kQ8_0);
}

TEST(PlanJson, HasTheContractsFields) {
  const ModelSpec spec = dense();
  const Json json = to_json(hybrid(spec));
  EXPECT_EQ(json["split"], "hybrid");
  EXPECT_TRUE(json["why_not"].is_null());
  EXPECT_TRUE(json["predicted"].is_null());
  const Json& device = json["stages"][0]["devices"][0];
  for (const char* name : {"device", "share", "weights_bytes", "kv_bytes", "compute_bytes",
                           "total_bytes", "capacity_bytes"}) {
    EXPECT_TRUE(device.contains(name)) << name;
  }
  EXPECT_EQ(device["total_bytes"].get<std::int64_t>(),
            device["weights_bytes"].get<std::int64_t>() + device["kv_bytes"].get<std::int64_t>() +
                device["compute_bytes"].get<std::int64_t>());
}

TEST(PlanJson, ExpertSplitRoundTrips) {
  const ModelSpec spec = model_for_test({.ffn = 256, .experts = 10});
  LayoutRequest request;
  request.stages = {{{"a", 1.0, 0}, {"b", 1.0, 0}, {"c", 1.0, 0}}};
  request.split_by_expert = true;
  const Json json = to_json(*lay_out(spec, request));
  const auto back = plan_from_json(json, spec);
  ASSERT_TRUE(back.ok()) << back.error().to_string();
  EXPECT_EQ(to_json(*back), json);
}

struct Spoiled {
  const char* path;
  Json value;
  const char* message;
};

TEST(PlanJson, NamesTheFieldThatIsWrong) {
  const ModelSpec spec = dense();
  const Json good = to_json(hybrid(spec));
  const std::vector<Spoiled> cases = {
      {"/stages", nullptr, "plan.stages"},
      {"/stages", Json::array(), "plan.stages"},
      {"/stages", Json::array({1, 2, 3, 4, 5, 6}), "more stages than layers"},
      {"/stages/0", 7, "plan.stages[0]"},
      {"/stages/0/devices", Json::object(), "plan.stages[0].devices"},
      {"/stages/0/num_layers", 1000000, "plan.stages[0].num_layers"},
      {"/stages/0/num_layers", -1, "plan.stages[0].num_layers"},
      {"/stages/0/num_layers", 1, "another model file"},
      {"/stages/0/first_layer", 0.5, "plan.stages[0].first_layer"},
      {"/stages/0/devices/0/device", "", "devices[0].device"},
      {"/stages/0/devices/0/device", "cuda:1", "each device once"},
      {"/stages/0/devices/0/share", "half", "share"},
      {"/stages/0/devices/0/share", 1e308, "share"},
      {"/stages/0/devices/0/shard", nullptr, "shard"},
      {"/stages/0/devices/0/shard/q_heads", Json::array({0, 9}), "shard.q_heads"},
      {"/stages/0/devices/0/shard/q_heads", Json::array({4, 0}), "shard.q_heads"},
      {"/stages/0/devices/0/shard/q_heads", Json::array({0}), "shard.q_heads"},
      {"/stages/0/devices/0/shard/ffn", Json::array({0, 1e300}), "shard.ffn"},
      {"/stages/0/devices/0/shard/ffn", Json::array({-5, 3}), "shard.ffn"},
      {"/stages/0/devices/0/shard/ffn", Json::array({0, 32}), "weights_bytes"},
      {"/stages/0/devices/0/weights_bytes", 12, "got 12"},
      {"/stages/0/devices/0/compute_bytes", -1, "compute_bytes"},
      {"/kv", nullptr, "plan.kv"},
      {"/kv/type", "Q4_K", "plan.kv.type"},
      {"/kv/num_blocks", 4294967296, "plan.kv.num_blocks"},
      {"/kv/block_tokens", 0, "plan.kv.block_tokens"},
      {"/max_sequences", 0, "plan.max_sequences"},
      {"/max_batch_tokens", nullptr, "plan.max_batch_tokens"},
      {"/context_tokens", -4, "plan.context_tokens"},
      {"/split", "tensor", "plan.split"},
      {"/split_by_expert", true, "no experts"},
      {"/notes", Json::array({1}), "notes"},
      {"/predicted", 3, "plan.predicted"},
      {"/scaling", Json{{"losses", 1}}, "plan.scaling.losses"},
  };
  for (const Spoiled& spoiled : cases) {
    Json json = good;
    json[Json::json_pointer(spoiled.path)] = spoiled.value;
    const auto plan = plan_from_json(json, spec);
    ASSERT_FALSE(plan.ok()) << spoiled.path << " = " << spoiled.value;
    EXPECT_THAT(plan.error().to_string(), HasSubstr(spoiled.message)) << spoiled.path;
  }
}

TEST(PlanJson, RefusesOtherDocuments) {
  const ModelSpec spec = dense();
  for (const Json& json : {Json(nullptr), Json(3), Json("plan"), Json::array(), Json::object()}) {
    EXPECT_FALSE(plan_from_json(json, spec).ok()) << json;
  }
}

TEST(PlanJson, RefusesAPlanForAnotherModel) {
  const Json json = to_json(hybrid(dense()));
  const auto plan = plan_from_json(json, model_for_test({.layers = 5, .type = ElementType::kF16}));
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(plan.error().to_string(), HasSubstr("weights_bytes"));
}

}  // namespace
}  // namespace tandem
