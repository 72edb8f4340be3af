#pragma once

#include "app/bench/bench_report.h"
#include "model/model_spec.h"
#include "plan/time_model.h"

namespace tandem {

// The machine as the survey found it: devices with their rates, what they read together, links with
// latency and bandwidth.
Machine measured_machine(const BenchReport& report);

// What the planner expects of `plan` on the measured machine, before anything of it was run.
Result<Prediction> predict_rates(const ModelSpec& spec, Plan plan, const BenchReport& report,
                                 const Machine& machine, const EngineProfile& engine,
                                 std::int32_t concurrency);

}  // namespace tandem
