#pragma once

#include <nlohmann/json_fwd.hpp>

#include "app/bench/bench_report.h"
#include "model/model_spec.h"
#include "plan/engine_profile.h"

namespace tandem {

// The profile of the engine "tandem" with the constants of processors that the report determines:
// each is set so that the time model gives the rate of one measured row. One device's decode gives
// the efficiency of reading, its decode of the most sequences that of products of few rows, its
// prompt that of products of many; a tensor group's decode gives how much of the common bus is
// reached. The others stay as they are in data/engines.json.
EngineProfile calibrated_engine(const ModelSpec& spec, const BenchReport& report);

// {"machine", "engines"}: what plan/calibration.h reads.
nlohmann::json calibration_json(const ModelSpec& spec, const BenchReport& report);

}  // namespace tandem
