#include "app/bench/calibration.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "app/bench/prediction.h"
#include "machine/machine_json.h"

namespace tandem {
namespace {

constexpr int kHalvings = 60;

enum class Phase { kPrompt, kDecode };

// The constants of processors, and the measurements that they are fitted to.
class Fit {
 public:
  Fit(const ModelSpec& spec, const BenchReport& report, EngineProfile& engine)
      : spec_(spec), report_(report), machine_(measured_machine(report)), engine_(engine) {}

  // Sets `constant` within [low, high], a larger one being faster, so that the prediction of
  // `row` is what was measured.
  void solve(double& constant, double low, double high, const BenchRow& row, Phase phase) {
    const double before = constant;
    const BenchPhase& measured = phase == Phase::kPrompt ? row.prefill : row.decode;
    for (int i = 0; i < kHalvings; ++i) {
      constant = std::sqrt(low * high);
      const auto predicted =
          predict_rates(spec_, row.layout, report_, machine_, engine_, row.concurrency);
      if (!predicted.ok()) {
        constant = before;
        return;
      }
      const double rate = phase == Phase::kPrompt ? predicted->prefill_tokens_per_s
                                                  : predicted->decode_tokens_per_s;
      (rate < measured.tokens_per_s ? low : high) = constant;
    }
  }

  // Rows of one device; of the fewest or the most sequences.
  const BenchRow* one_device(bool most) const {
    const BenchRow* found = nullptr;
    for (const BenchRow& row : report_.rows) {
      if (row.num_devices > 1) continue;
      const bool better = found == nullptr || (most ? row.concurrency > found->concurrency
                                                    : row.concurrency < found->concurrency);
      if (better) found = &row;
    }
    return found;
  }

  // A row of a single sequence whose plan splits so.
  const BenchRow* divided(SplitMode split) const {
    for (const BenchRow& row : report_.rows) {
      if (row.layout.split == split && row.concurrency == 1) return &row;
    }
    return nullptr;
  }

 private:
  const ModelSpec& spec_;
  const BenchReport& report_;
  Machine machine_;
  EngineProfile& engine_;
};

// Seconds of a step in which no rank computed.
double idle_us(const BenchRow& row, std::int32_t gen_tokens) {
  const RunTimes& times = row.decode.times;
  return 1e6 * std::max(0.0, times.wall - times.ranks.front().compute) / gen_tokens;
}

void fit_links(const BenchReport& report, BackendProfile& cpu) {
  if (report.ceilings.links.empty()) return;
  const MeasuredLink& link = report.ceilings.links.front();
  cpu.all_reduce_us = std::max(0.0, link.all_reduce_us - link.latency_us);
}

}  // namespace

EngineProfile calibrated_engine(const ModelSpec& spec, const BenchReport& report) {
  EngineProfile engine = **find_engine("tandem");
  BackendProfile& cpu = engine.backends["cpu"];
  Fit fit(spec, report, engine);
  fit_links(report, cpu);
  const BenchRow* one = fit.one_device(false);
  if (one == nullptr) return engine;
  cpu.host_us = idle_us(*one, report.gen_tokens);
  const double kv_share = cpu.kv_efficiency / cpu.memory_efficiency;
  fit.solve(cpu.memory_efficiency, 0.01, 100, *one, Phase::kDecode);
  cpu.kv_efficiency = kv_share * cpu.memory_efficiency;
  // Twice: the cache's part was counted with the old efficiency.
  fit.solve(cpu.memory_efficiency, 0.01, 100, *one, Phase::kDecode);
  if (const BenchRow* many = fit.one_device(true); many->concurrency > 1) {
    fit.solve(cpu.batch_efficiency, 0.001, 10, *many, Phase::kDecode);
  }
  double& products = spec.file_type == "F16" || spec.file_type == "BF16" || spec.file_type == "F32"
                         ? cpu.matmul_efficiency
                         : cpu.quantised_factor;
  fit.solve(products, 0.01, 10, *one, Phase::kPrompt);
  if (const BenchRow* tensor = fit.divided(SplitMode::kTensor)) {
    fit.solve(cpu.shared_efficiency, 0.01, 100, *tensor, Phase::kDecode);
  }
  cpu.typical_low = 0.9;
  cpu.typical_high = 1.1;
  engine.source = "measured by `tandem bench --calibrate` with " + report.model;
  return engine;
}

nlohmann::json calibration_json(const ModelSpec& spec, const BenchReport& report) {
  return {{"machine", machine_to_json(measured_machine(report))},
          {"engines", nlohmann::json::array({to_json(calibrated_engine(spec, report))})}};
}

}  // namespace tandem
