#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "machine/json_reader.h"
#include "plan/plan.h"
#include "plan/rank_bytes.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

// Far above every model and machine, far below where products of them overflow.
constexpr std::int64_t kMaxCount = std::int64_t{1} << 24;
constexpr std::int64_t kMaxContextTokens = std::int64_t{1} << 40;

Json interval_to_json(const Interval& interval) {
  return Json::array({interval.begin, interval.end});
}

Json shard_to_json(const RankShard& shard) {
  return {{"q_heads", interval_to_json(shard.q_heads)},
          {"kv_heads", interval_to_json(shard.kv_heads)},
          {"ffn", interval_to_json(shard.ffn)},
          {"experts", interval_to_json(shard.experts)},
          {"vocabulary", interval_to_json(shard.vocabulary)}};
}

Json rank_to_json(const RankPlan& rank) {
  return {{"device", rank.device},
          {"share", rank.share},
          {"weights_bytes", rank.weights_bytes},
          {"kv_bytes", rank.kv_bytes},
          {"compute_bytes", rank.compute_bytes},
          {"total_bytes", rank.total_bytes()},
          {"capacity_bytes", rank.capacity_bytes == 0 ? Json(nullptr) : Json(rank.capacity_bytes)},
          {"shard", shard_to_json(rank.shard)}};
}

Json scaling_to_json(const ScalingReport& scaling) {
  const ScalingLosses& losses = scaling.losses;
  return {{"num_devices", scaling.num_devices},
          {"theoretical_speedup", scaling.theoretical_speedup},
          {"predicted_speedup", scaling.predicted_speedup},
          {"efficiency", scaling.efficiency},
          {"losses",
           {{"all_reduce_latency", losses.all_reduce_latency},
            {"all_reduce_bandwidth", losses.all_reduce_bandwidth},
            {"stage_transfer", losses.stage_transfer},
            {"bubble", losses.bubble},
            {"imbalance", losses.imbalance},
            {"launch", losses.launch},
            {"host", losses.host}}}};
}

Json predicted_to_json(const Prediction& predicted) {
  return {{"prefill_tokens_per_s", predicted.prefill_tokens_per_s},
          {"decode_tokens_per_s", predicted.decode_tokens_per_s},
          {"low", predicted.low},
          {"high", predicted.high}};
}

// The member `name`, which must be there and within [low, high].
template <typename T>
T required(JsonReader& reader, const char* name, T low, T high) {
  const auto value = reader.get<T>(name);
  if (!value || *value < low || *value > high) {
    reader.fail(name, fmt::format("{} to {}", low, high));
    return low;
  }
  return *value;
}

Interval read_interval(JsonReader& reader, const char* name, std::int64_t total) {
  const Json* value = reader.array(name);
  const auto wrong = [&] {
    reader.fail(name, fmt::format("[begin, end] within [0, {}]", total));
    return Interval{};
  };
  if (value == nullptr || value->size() != 2) return wrong();
  if (!(*value)[0].is_number_integer() || !(*value)[1].is_number_integer()) return wrong();
  const Interval interval{(*value)[0].get<std::int64_t>(), (*value)[1].get<std::int64_t>()};
  if (interval.begin < 0 || interval.end < interval.begin || interval.end > total) return wrong();
  return interval;
}

Result<RankShard> read_shard(const Json& json, const std::string& where, const ModelSpec& spec) {
  JsonReader reader(json, where);
  RankShard shard;
  shard.q_heads = read_interval(reader, "q_heads", spec.attention.num_q_heads);
  shard.kv_heads = read_interval(reader, "kv_heads", spec.attention.num_kv_heads);
  shard.ffn = read_interval(reader, "ffn", spec.feed_forward.width);
  shard.experts = read_interval(reader, "experts", spec.feed_forward.num_experts);
  shard.vocabulary = read_interval(reader, "vocabulary", spec.vocabulary_size);
  TANDEM_TRY_STATUS(reader.status());
  return shard;
}

// A figure of bytes that a plan may state: it must be what the model gives, or the plan was made
// for another one.
Status check_bytes(JsonReader& reader, const char* name, std::int64_t actual) {
  const auto stated = reader.get<std::int64_t>(name);
  if (!stated || *stated == actual) return {};
  return malformed(reader.where() + "." + name, "the plan was made for another model file",
                   std::to_string(actual), std::to_string(*stated));
}

class PlanReader {
 public:
  explicit PlanReader(const ModelSpec& spec) : spec_(spec) {}

  Result<Plan> read(const Json& json) {
    JsonReader reader(json, "plan");
    plan_.name = reader.get<std::string>("name").value_or("");
    TANDEM_TRY_STATUS(read_sizes(reader));
    const Json* stages = reader.array("stages");
    if (stages == nullptr || stages->empty()) reader.fail("stages", "a list of stages");
    TANDEM_TRY_STATUS(reader.status());
    if (stages->size() > static_cast<std::size_t>(spec_.num_layers)) {
      return malformed("plan.stages", "more stages than layers",
                       fmt::format("at most {}", spec_.num_layers), std::to_string(stages->size()));
    }
    for (std::size_t i = 0; i < stages->size(); ++i) {
      TANDEM_TRY_STATUS(read_stage((*stages)[i], i, i + 1 == stages->size()));
    }
    TANDEM_TRY_STATUS(check_split(reader));
    TANDEM_TRY_STATUS(read_findings(json));
    TANDEM_TRY_STATUS(validate(plan_, spec_));
    return std::move(plan_);
  }

 private:
  Status read_sizes(JsonReader& reader) {
    plan_.max_sequences =
        required<std::int32_t>(reader, "max_sequences", 1, std::int32_t{kMaxCount});
    plan_.max_batch_tokens =
        required<std::int32_t>(reader, "max_batch_tokens", 1, std::int32_t{kMaxCount});
    plan_.micro_batch_tokens =
        required<std::int32_t>(reader, "micro_batch_tokens", 1, plan_.max_batch_tokens);
    plan_.max_output_rows =
        required<std::int32_t>(reader, "max_output_rows", 1, std::int32_t{kMaxCount});
    plan_.context_tokens = required<std::int64_t>(reader, "context_tokens", 1, kMaxContextTokens);
    plan_.split_by_expert = reader.get<bool>("split_by_expert").value_or(false);
    if (plan_.split_by_expert && spec_.feed_forward.num_experts == 0) {
      reader.fail("split_by_expert", "false: the model has no experts");
    }
    const Json* kv_json = reader.find("kv");
    if (kv_json == nullptr) reader.fail("kv", "an object");
    TANDEM_TRY_STATUS(reader.status());
    JsonReader kv(*kv_json, "plan.kv");
    plan_.kv.block_tokens = required<std::int32_t>(kv, "block_tokens", 1, 65536);
    plan_.kv.num_blocks = required<std::int32_t>(kv, "num_blocks", 1, std::int32_t{kMaxCount});
    const auto type = element_type_from_name(kv.get<std::string>("type").value_or(""));
    const bool known =
        type == ElementType::kF16 || type == ElementType::kF32 || type == ElementType::kQ8_0;
    if (!known || !bytes_of(*type, spec_.attention.head_dim)) {
      kv.fail("type", "f16, f32 or q8_0, and heads of whole blocks");
    }
    TANDEM_TRY_STATUS(kv.status());
    plan_.kv.type = *type;
    return {};
  }

  Status read_stage(const Json& json, std::size_t index, bool is_last) {
    const std::string where = fmt::format("plan.stages[{}]", index);
    JsonReader reader(json, where);
    StagePlan stage;
    stage.first_layer = required<std::int32_t>(reader, "first_layer", 0, spec_.num_layers - 1);
    stage.num_layers =
        required<std::int32_t>(reader, "num_layers", 1, spec_.num_layers - stage.first_layer);
    const Json* devices = reader.array("devices");
    if (devices == nullptr || devices->empty()) reader.fail("devices", "a list of devices");
    TANDEM_TRY_STATUS(reader.status());
    for (std::size_t i = 0; i < devices->size(); ++i) {
      TANDEM_TRY(RankPlan rank, read_rank((*devices)[i], fmt::format("{}.devices[{}]", where, i),
                                          stage, index == 0, is_last));
      stage.ranks.push_back(std::move(rank));
    }
    plan_.stages.push_back(std::move(stage));
    return {};
  }

  Result<RankPlan> read_rank(const Json& json, const std::string& where, const StagePlan& stage,
                             bool is_first, bool is_last) {
    JsonReader reader(json, where);
    RankPlan rank;
    rank.device = reader.get<std::string>("device").value_or("");
    if (rank.device.empty()) reader.fail("device", "a device id such as cuda:0");
    if (!seen_.insert(rank.device).second) reader.fail("device", "each device once");
    rank.share = required<double>(reader, "share", 0.0, 1.0);
    rank.capacity_bytes = reader.get<std::int64_t>("capacity_bytes").value_or(0);
    if (rank.capacity_bytes < 0) reader.fail("capacity_bytes", "0 or more");
    const Json* shard = reader.find("shard");
    if (shard == nullptr) reader.fail("shard", "an object");
    TANDEM_TRY_STATUS(reader.status());
    TANDEM_TRY(rank.shard, read_shard(*shard, where + ".shard", spec_));
    rank.shard.first_layer = stage.first_layer;
    rank.shard.num_layers = stage.num_layers;
    rank.shard.has_embedding = is_first;
    rank.shard.has_output = is_last || !rank.shard.vocabulary.empty();
    rank.weights_bytes = weights_bytes_on(rank.device, spec_, rank.shard);
    rank.kv_bytes = kv_bytes_on(rank.device, spec_, rank.shard, plan_.kv);
    TANDEM_TRY_STATUS(check_bytes(reader, "weights_bytes", rank.weights_bytes));
    TANDEM_TRY_STATUS(check_bytes(reader, "kv_bytes", rank.kv_bytes));
    // An estimate of the planner; what the runtime allocates, it computes itself.
    rank.compute_bytes = reader.get<std::int64_t>("compute_bytes").value_or(0);
    if (rank.compute_bytes < 0 || rank.compute_bytes > kMaxContextTokens) {
      reader.fail("compute_bytes", "0 or more");
    }
    TANDEM_TRY_STATUS(reader.status());
    return rank;
  }

  // The mode follows from the stages; a plan that says another one was edited by mistake.
  Status check_split(JsonReader& reader) {
    const bool grouped = std::any_of(plan_.stages.begin(), plan_.stages.end(),
                                     [](const StagePlan& stage) { return stage.ranks.size() > 1; });
    plan_.split = plan_.stages.size() == 1 ? (grouped ? SplitMode::kTensor : SplitMode::kNone)
                                           : (grouped ? SplitMode::kHybrid : SplitMode::kLayer);
    const auto stated = reader.get<std::string>("split");
    if (stated && *stated != name_of(plan_.split)) {
      reader.fail("split", fmt::format("{}, as its stages are", name_of(plan_.split)));
    }
    return reader.status();
  }

  // What the planner said about the plan; nothing executes it.
  Status read_findings(const Json& json) {
    JsonReader reader(json, "plan");
    plan_.fits = reader.get<bool>("fits").value_or(true);
    plan_.why_not = reader.get<std::string>("why_not").value_or("");
    plan_.power_w = reader.get<double>("power_w");
    if (const Json* notes = reader.array("notes")) {
      for (const Json& note : *notes) {
        if (!note.is_string()) reader.fail("notes", "a list of texts");
        if (note.is_string()) plan_.notes.push_back(note.get<std::string>());
      }
    }
    TANDEM_TRY_STATUS(reader.status());
    if (const Json* predicted = reader.find("predicted")) {
      TANDEM_TRY_STATUS(read_prediction(*predicted));
    }
    if (const Json* scaling = reader.find("scaling")) {
      TANDEM_TRY_STATUS(read_scaling(*scaling));
    }
    return {};
  }

  Status read_prediction(const Json& json) {
    JsonReader reader(json, "plan.predicted");
    Prediction predicted;
    predicted.prefill_tokens_per_s = reader.get<double>("prefill_tokens_per_s").value_or(0);
    predicted.decode_tokens_per_s = reader.get<double>("decode_tokens_per_s").value_or(0);
    predicted.low = reader.get<double>("low").value_or(0);
    predicted.high = reader.get<double>("high").value_or(0);
    plan_.predicted = predicted;
    return reader.status();
  }

  Status read_scaling(const Json& json) {
    JsonReader reader(json, "plan.scaling");
    ScalingReport scaling;
    scaling.num_devices = reader.get<int>("num_devices").value_or(plan_.num_ranks());
    scaling.theoretical_speedup = reader.get<double>("theoretical_speedup").value_or(1);
    scaling.predicted_speedup = reader.get<double>("predicted_speedup").value_or(1);
    scaling.efficiency = reader.get<double>("efficiency").value_or(1);
    if (const Json* found = reader.find("losses")) {
      JsonReader losses(*found, "plan.scaling.losses");
      const auto loss = [&](const char* name) { return losses.get<double>(name).value_or(0); };
      scaling.losses = {loss("all_reduce_latency"),
                        loss("all_reduce_bandwidth"),
                        loss("stage_transfer"),
                        loss("bubble"),
                        loss("imbalance"),
                        loss("launch"),
                        loss("host")};
      TANDEM_TRY_STATUS(losses.status());
    }
    plan_.scaling = scaling;
    return reader.status();
  }

  const ModelSpec& spec_;
  Plan plan_;
  std::set<std::string> seen_;
};

}  // namespace

Json to_json(const Plan& plan) {
  Json stages = Json::array();
  for (const StagePlan& stage : plan.stages) {
    Json devices = Json::array();
    for (const RankPlan& rank : stage.ranks) devices.push_back(rank_to_json(rank));
    stages.push_back({{"first_layer", stage.first_layer},
                      {"num_layers", stage.num_layers},
                      {"devices", std::move(devices)}});
  }
  return {{"name", plan.name},
          {"split", name_of(plan.split)},
          {"fits", plan.fits},
          {"why_not", plan.fits ? Json(nullptr) : Json(plan.why_not)},
          {"stages", std::move(stages)},
          {"kv",
           {{"type", traits_of(plan.kv.type).name},
            {"block_tokens", plan.kv.block_tokens},
            {"num_blocks", plan.kv.num_blocks}}},
          {"max_sequences", plan.max_sequences},
          {"max_batch_tokens", plan.max_batch_tokens},
          {"micro_batch_tokens", plan.micro_batch_tokens},
          {"max_output_rows", plan.max_output_rows},
          {"context_tokens", plan.context_tokens},
          {"split_by_expert", plan.split_by_expert},
          {"predicted", plan.predicted ? predicted_to_json(*plan.predicted) : Json(nullptr)},
          {"scaling", plan.scaling ? scaling_to_json(*plan.scaling) : Json(nullptr)},
          {"power_w", plan.power_w ? Json(*plan.power_w) : Json(nullptr)},
          {"notes", plan.notes}};
}

Result<Plan> plan_from_json(const Json& json, const ModelSpec& spec) {
  return PlanReader(spec).read(json);
}

}  // namespace tandem
