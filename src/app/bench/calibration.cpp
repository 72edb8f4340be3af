#include "app/bench/calibration.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/bench/prediction.h"
#include "machine/machine_json.h"

namespace tandem {
namespace {

// Measured over predicted, of models and workloads that had no part in the calibration
// (docs/planning.md).
constexpr double kTypicalLow = 0.9;
constexpr double kTypicalHigh = 1.1;

// Of arithmetic in a model beside that of kernels alone: more is a disturbance, or a prompt too
// short to tell. A prompt is not arithmetic alone, hence the rounds.
constexpr double kMostLonger = 1.25;
constexpr int kFitRounds = 3;

}  // namespace

Result<EngineProfile> calibrated_engine(const KernelSurveyRequest& request) {
  TANDEM_TRY(const EngineProfile* defaults, find_engine("tandem"));
  EngineProfile engine = *defaults;
  BackendProfile& cpu = engine.backends["cpu"];
  TANDEM_TRY_STATUS(survey_kernels(request, cpu));
  if (!request.ceilings->links.empty()) {
    const MeasuredLink& link = request.ceilings->links.front();
    cpu.all_reduce_us = std::max(0.0, link.all_reduce_us - link.latency_us);
  }
  cpu.typical_low = kTypicalLow;
  cpu.typical_high = kTypicalHigh;
  engine.source = "measured by `tandem bench --calibrate`";
  return engine;
}

void fit_to_rows(const ModelSpec& spec, const BenchReport& report, EngineProfile& engine) {
  const BenchRow* one = nullptr;
  for (const BenchRow& row : report.rows) {
    if (row.num_devices > 1) continue;
    if (one == nullptr || row.concurrency < one->concurrency) one = &row;
  }
  if (one == nullptr) return;
  BackendProfile& cpu = engine.backends["cpu"];
  const RunTimes& times = one->decode.times;
  cpu.host_us = 1e6 * std::max(0.0, times.wall - times.ranks.front().compute) / report.gen_tokens;
  const Machine machine = measured_machine(report);
  for (int round = 0; round < kFitRounds; ++round) {
    const auto predicted = predict_rates(spec, one->layout, report, machine, engine, 1);
    if (!predicted.ok()) return;
    const double longer = std::clamp(predicted->prefill_tokens_per_s / one->prefill.tokens_per_s,
                                     1 / kMostLonger, kMostLonger);
    for (KernelCosts& kernel : cpu.kernels) {
      for (RowCost& row : kernel.rows) {
        row.alone *= longer;
        row.together *= longer;
      }
    }
  }
}

nlohmann::json calibration_json(const BenchReport& report) {
  return {{"machine", machine_to_json(measured_machine(report))},
          {"engines", nlohmann::json::array({to_json(*report.calibrated)})}};
}

}  // namespace tandem
