#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

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
};

// The constants of one engine (data/engines.json).
struct EngineProfile {
  std::string name;
  std::vector<std::string> aliases;
  // Matrix products accumulate in half precision, at which GeForce cards run at twice the rate.
  bool half_accumulate = false;
  bool kv_window = false;  // layers with a window keep only that of keys and values
  double expert_layer_factor = 1;
  double linear_layer_factor = 1;
  double stage_hop_us = 0;
  double pipeline_overlap = 1;
  double all_reduce_us = 0;
  double host_us = 0;
  int micro_batch_tokens = 512;
  double activation_bytes = 4;
  double decode_power_share = 1;  // of the board power, that decode draws
  double typical_low = 1;         // measured over predicted, 10th and 90th percentile
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

// For tests: profiles of a text like data/engines.json.
Result<std::vector<EngineProfile>> parse_engine_profiles(std::string_view json);

}  // namespace tandem
