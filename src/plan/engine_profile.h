#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "plan/kernel_costs.h"

namespace tandem {

// What an engine makes of one kind of hardware. What each constant means stands in
// data/engines.json, `about`; efficiencies are shares of the printed rate.
struct BackendProfile {
  double memory_efficiency = 1;
  double kv_efficiency = 1;
  double matvec_ops_half = 0;  // operations a weight, at the single-precision rate
  double matvec_ops_quantised = 0;
  double layer_us = 0;
  double prefill_layer_us = 0;
  double matmul_efficiency = 1;
  double quantised_factor = 1;
  double attention_factor = 1;
  double score_passes = 0;  // bytes moved for each attention score
  double activation_hidden = 0;
  double activation_width = 0;
  // Of processors (`bench --calibrate` measures them). With kernels, memory_efficiency,
  // matmul_efficiency and quantised_factor say nothing: each type of weights has its own.
  std::vector<KernelCosts> kernels;
  double shared_kv_efficiency = 0;   // kv_efficiency while all devices read; 0: the same
  double attention_efficiency = 0;   // of the single-precision rate, in place of attention_factor
  double attention_context_ops = 0;  // for each key's and value's element that a chunk looks at
  // Of the work between two reductions, what ranks wait for one another though equally loaded: in
  // decode steps and in prompts.
  double group_wait = 0;
  double prefill_group_wait = 0;
  // Most parts in which reductions of prompts go on beside the products that make them
  // (prefill_time.h); 1: they wait for each other.
  int reduce_parts = 1;
  bool is_measured = true;  // false: constants that nobody has yet held against a run
  // Where this kind of device differs from the engine's own figure.
  std::optional<double> stage_hop_us;
  std::optional<double> pipeline_overlap;
  std::optional<double> all_reduce_us;
  std::optional<double> host_us;
  std::optional<double> typical_low;
  std::optional<double> typical_high;
};

// The constants of one engine (data/engines.json).
struct EngineProfile {
  std::string name;
  std::vector<std::string> aliases;
  // Matrix products accumulate in half precision, at which GeForce cards run at twice the rate.
  bool half_accumulate = false;
  bool kv_window = false;         // layers with a window keep only that of keys and values
  bool splits_by_expert = false;  // groups may hold whole experts each
  double expert_layer_factor = 1;
  double linear_layer_factor = 1;
  double stage_hop_us = 0;
  double pipeline_overlap = 1;
  double all_reduce_us = 0;
  double reduce_step_share = 1;  // of a link's copy latency, that a step of a reduction takes
  double host_us = 0;
  int micro_batch_tokens = 512;
  int stage_micro_batch_tokens = 512;  // where there are several stages
  double activation_bytes = 4;
  // Of the board power, that decode draws on Ampere; on others in proportion to energy_pj().
  double decode_power_share = 1;
  double typical_low = 1;  // measured over predicted, 10th and 90th percentile
  double typical_high = 1;
  std::map<std::string, BackendProfile> backends;  // cuda, hip, metal, cpu
  std::string source;

  const BackendProfile& backend(std::string_view name) const;
};

const std::vector<EngineProfile>& engine_profiles();

// By name or alias, case ignored. kNotFound lists the names that are known.
Result<const EngineProfile*> find_engine(std::string_view name);

// Picojoules of one half-precision matrix operation, with its data movement, on a chip of that
// generation; 0 where it is not known (then power does not bound).
double energy_pj(std::string_view architecture);

// Profiles of a text like data/engines.json: of a user's file, or a calibration's.
Result<std::vector<EngineProfile>> parse_engine_profiles(std::string_view json);

// As one entry of "engines" in data/engines.json.
nlohmann::json to_json(const EngineProfile& engine);

}  // namespace tandem
