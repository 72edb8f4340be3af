#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "model/rank_shard.h"

namespace tandem {

enum class SplitMode : std::uint8_t {
  kNone,    // one device
  kLayer,   // pipeline: each stage one device
  kTensor,  // one stage, all devices
  kHybrid,  // stages of groups
};

std::string_view name_of(SplitMode mode);

// One device's part of the plan.
struct RankPlan {
  std::string device;  // "cuda:0", "cpu:0-3"
  double share = 1.0;  // of its stage's work, by what it holds; a stage's shares sum to 1
  RankShard shard;
  std::int64_t weights_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t compute_bytes = 0;
  std::int64_t capacity_bytes = 0;  // 0: not known

  std::int64_t total_bytes() const { return weights_bytes + kv_bytes + compute_bytes; }
};

// Layers [first_layer, first_layer + num_layers), worked on by a tensor-parallel group.
struct StagePlan {
  std::int32_t first_layer = 0;
  std::int32_t num_layers = 0;
  std::vector<RankPlan> ranks;
};

// The KV cache's geometry, the same on every rank: block tables are made once for all of them.
struct KvPlan {
  ElementType type = ElementType::kF16;
  std::int32_t block_tokens = 32;
  std::int32_t num_blocks = 0;
};

struct Prediction {
  double prefill_tokens_per_s = 0;
  double decode_tokens_per_s = 0;
  double low = 0;  // of decode; 80 % of measurements are expected between low and high
  double high = 0;
};

// Fractions of the ideal time that are lost, per cause; with the efficiency they sum to 1.
struct ScalingLosses {
  double all_reduce_latency = 0;
  double all_reduce_bandwidth = 0;
  double stage_transfer = 0;
  double bubble = 0;
  double imbalance = 0;
  double launch = 0;
  double host = 0;
};

struct ScalingReport {
  std::int32_t num_devices = 1;
  double theoretical_speedup = 1;
  double predicted_speedup = 1;
  double efficiency = 1;
  ScalingLosses losses;
};

// How a model is laid over devices. A plain value that reads from and writes to JSON; knows no
// thread, stream or socket.
struct Plan {
  std::string name;  // "2-way tensor"
  SplitMode split = SplitMode::kNone;
  std::vector<StagePlan> stages;
  KvPlan kv;
  std::int32_t max_sequences = 1;       // at once in one step
  std::int32_t max_batch_tokens = 512;  // in one step
  // Most tokens that a rank takes at once, which sizes its compute buffers: steps are cut into such
  // micro-batches, so that all stages have work. max_batch_tokens where there is one stage.
  std::int32_t micro_batch_tokens = 512;
  // Rows of logits in one step: at least max_sequences, more where all positions are wanted
  // (perplexity).
  std::int32_t max_output_rows = 1;
  std::int64_t context_tokens = 0;  // of one sequence
  bool split_by_expert = false;
  bool fits = true;
  std::string why_not;  // why it does not fit, and what would help
  std::optional<Prediction> predicted;
  std::optional<ScalingReport> scaling;
  std::optional<double> power_w;
  std::vector<std::string> notes;

  std::int32_t num_ranks() const;
};

// The contract's form (CLI.md, `tandem plan`), and back. from_json checks everything that the
// runtime relies on against `spec`: every layer held once, heads, widths and vocabulary covered
// without gaps. kMalformed names the field.
nlohmann::json to_json(const Plan& plan);
Result<Plan> plan_from_json(const nlohmann::json& json, const ModelSpec& spec);

// That every layer, head, feed-forward column, expert and vocabulary row is held exactly once
// within its stage's group (KV heads: at least once).
Status validate(const Plan& plan, const ModelSpec& spec);

}  // namespace tandem
