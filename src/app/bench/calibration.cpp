#include "app/bench/calibration.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "app/bench/prediction.h"
#include "machine/machine_json.h"
#include "plan/links.h"

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

// Shares of a measured rate: more is a disturbance of the ceilings, less would be a model too small
// to tell.
constexpr double kLeastShare = 1e-4;
constexpr double kMostShare = 1.2;
constexpr int kHalvings = 20;

// The row of the fewest devices with the fewest sequences. bench_plans() puts the former first.
const BenchRow& simplest_row(const BenchReport& report) {
  return *std::ranges::min_element(report.rows, {}, [](const BenchRow& row) {
    return std::pair{row.num_devices, row.concurrency};
  });
}

// Microseconds of a step in which no rank computes.
double host_us_of(const BenchRow& row, std::int32_t gen_tokens) {
  double busy = 0;
  for (const RankTimes& rank : row.decode.times.ranks) busy += rank.compute;
  return 1e6 * std::max(0.0, row.decode.times.wall - busy) / gen_tokens;
}

// Sets `share` so that `predicted` (which grows with it) gives `measured`.
template <typename Predicted>
void fit_share(double& share, double measured, const Predicted& predicted) {
  double low = kLeastShare;
  double high = kMostShare;
  for (int i = 0; i < kHalvings; ++i) {
    share = std::sqrt(low * high);
    (predicted() < measured ? low : high) = share;
  }
}

}  // namespace

Result<EngineProfile> calibrated_engine(const KernelSurveyRequest& request) {
  TANDEM_TRY(const EngineProfile* defaults, find_engine("tandem"));
  EngineProfile engine = *defaults;
  engine.source = "measured by `tandem bench --calibrate`";
  if (request.devices.empty()) return engine;
  BackendProfile& cpu = engine.backends["cpu"];
  TANDEM_TRY_STATUS(survey_kernels(request, cpu));
  if (!request.ceilings->links.empty()) {
    const MeasuredLink& link = request.ceilings->links.front();
    cpu.all_reduce_us = std::max(0.0, link.all_reduce_us - link.latency_us);
  }
  cpu.typical_low = kTypicalLow;
  cpu.typical_high = kTypicalHigh;
  return engine;
}

void fit_to_rows(const ModelSpec& spec, const BenchReport& report, EngineProfile& engine) {
  const BenchRow& one = simplest_row(report);
  BackendProfile& cpu = engine.backends["cpu"];
  cpu.host_us = host_us_of(one, report.gen_tokens);
  const Machine machine = measured_machine(report);
  for (int round = 0; round < kFitRounds; ++round) {
    const auto predicted = predict_rates(spec, one.layout, report, machine, engine, 1);
    if (!predicted.ok()) return;
    const double longer = std::clamp(predicted->prefill_tokens_per_s / one.prefill.tokens_per_s,
                                     1 / kMostLonger, kMostLonger);
    for (KernelCosts& kernel : cpu.kernels) {
      for (RowCost& row : kernel.rows) {
        row.alone *= longer;
        row.together *= longer;
      }
    }
  }
}

void fit_gpus(const ModelSpec& spec, const BenchReport& report, EngineProfile& engine) {
  const BenchRow& one = simplest_row(report);
  BackendProfile& gpu = engine.backends["cuda"];
  gpu.host_us = host_us_of(one, report.gen_tokens);
  gpu.matvec_ops_half = gpu.matvec_ops_quantised = 0;  // is part of what is read
  gpu.is_measured = true;
  const Machine machine = measured_machine(report);
  const auto predicted = [&] {
    const auto rates = predict_rates(spec, one.layout, report, machine, engine, one.concurrency);
    return rates.ok() ? *rates : Prediction();
  };
  fit_share(gpu.memory_efficiency, one.decode.tokens_per_s,
            [&] { return predicted().decode_tokens_per_s; });
  fit_share(gpu.matmul_efficiency, one.prefill.tokens_per_s,
            [&] { return predicted().prefill_tokens_per_s; });
  for (const MeasuredLink& link : report.ceilings.links) {
    if (link.transport == "memory") continue;
    Wire wire{link.bandwidth_gbps, link.latency_us * engine.reduce_step_share,
              link.transport == "peer", false};
    const double bytes = static_cast<double>(spec.hidden_size) * engine.activation_bytes;
    gpu.all_reduce_us =
        std::max(0.0, link.all_reduce_us - 1e6 * all_reduce_time(wire, 2, bytes).total_s());
    break;
  }
}

nlohmann::json calibration_json(const BenchReport& report) {
  return {{"machine", machine_to_json(measured_machine(report))},
          {"engines", nlohmann::json::array({to_json(*report.calibrated)})}};
}

}  // namespace tandem
