#include "plan/time_model.h"

#include <algorithm>

#include "plan/decode_time.h"
#include "plan/device_work.h"
#include "plan/prefill_time.h"

namespace tandem {
namespace {

// Watts while decoding: each device draws between idle and its limit by the share of the step that
// it works.
double power_of(const Sketch& sketch, const Bench& bench, const TimeEstimate& estimate,
                const ModelCosts& model, const Workload& workload) {
  double watts = 0;
  for (const StageSketch& stage : sketch) {
    const RangeCosts costs =
        model.range(stage.first_layer, stage.num_layers, &stage == &sketch.back());
    for (std::size_t i = 0; i < stage.devices.size(); ++i) {
      const DeviceRates& device = bench.devices[stage.devices[i]];
      const double work =
          stage.shares[i] *
          decode_work_s(model, costs, device, workload.mean_context(), workload.concurrency, true);
      const double busy = std::clamp(work / estimate.decode_step_s, 0.0, 1.0);
      watts += device.idle_w + busy * (0.9 * device.power_w - device.idle_w);
    }
  }
  return watts;
}

}  // namespace

TimeEstimate estimate_time(const ModelCosts& model, const Sketch& sketch, const Bench& bench,
                           const Workload& workload) {
  const TimeTerms terms(model, sketch, bench, workload);
  TimeEstimate estimate;
  estimate_decode(terms, estimate);
  estimate.prefill_s = prefill_seconds(terms);
  return estimate;
}

Status predict(Plan& plan, const ModelCosts& model, const Bench& bench, const Workload& workload) {
  TANDEM_TRY(const Sketch sketch, sketch_of(plan, bench, model));
  Workload stepped = workload;
  if (bench.engine->name == "tandem") stepped.stage_micro_batch_tokens = plan.micro_batch_tokens;
  const TimeEstimate estimate = estimate_time(model, sketch, bench, stepped);
  Prediction predicted;
  if (estimate.prefill_s > 0) {
    predicted.prefill_tokens_per_s =
        static_cast<double>(workload.prompt_tokens) / estimate.prefill_s;
  }
  predicted.decode_tokens_per_s = estimate.decode_tokens_per_s(workload.concurrency);
  const BackendProfile& backend = leading_backend(sketch, bench);
  predicted.low =
      predicted.decode_tokens_per_s * backend.typical_low.value_or(bench.engine->typical_low);
  predicted.high =
      predicted.decode_tokens_per_s * backend.typical_high.value_or(bench.engine->typical_high);
  plan.predicted = predicted;
  ScalingReport scaling;
  scaling.num_devices = plan.num_ranks();
  scaling.theoretical_speedup = estimate.theoretical_speedup;
  scaling.predicted_speedup = estimate.single_step_s / estimate.decode_step_s;
  scaling.efficiency = estimate.ideal_step_s() / estimate.decode_step_s;
  const double step = estimate.decode_step_s;
  const ScalingLosses& lost = estimate.losses;
  scaling.losses = {lost.all_reduce_latency / step,
                    lost.all_reduce_bandwidth / step,
                    lost.stage_transfer / step,
                    lost.bubble / step,
                    lost.imbalance / step,
                    lost.launch / step,
                    lost.host / step};
  plan.scaling = scaling;
  plan.power_w = power_of(sketch, bench, estimate, model, workload);
  return {};
}

}  // namespace tandem
