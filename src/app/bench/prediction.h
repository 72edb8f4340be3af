#pragma once

#include <nlohmann/json_fwd.hpp>

#include "app/bench/bench_report.h"
#include "model/model_spec.h"
#include "plan/time_model.h"

namespace tandem {

// The machine as the survey found it: devices with their read bandwidth, links with latency and
// bandwidth. Where devices share a memory bus, each has its part of what they reach together.
Machine measured_machine(const BenchReport& report, const std::vector<std::string>& used);

// What the planner expects of `plan` on the measured machine, before anything of it was run.
Result<Prediction> predict_rates(const ModelSpec& spec, Plan plan, const BenchReport& report,
                                 std::int32_t concurrency);

// {"machine", "engines"}: the measured machine, for `plan --machine FILE`, and the profile of the
// engine "tandem" with its constants fitted to the report's rows, for TANDEM_ENGINES=FILE.
// Constants that the report does not determine stay as they are in data/engines.json.
nlohmann::json calibration_json(const ModelSpec& spec, const BenchReport& report);

}  // namespace tandem
