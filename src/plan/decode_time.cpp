#include "plan/decode_time.h"

#include <algorithm>

#include "plan/device_work.h"

namespace tandem {
namespace {

struct StageStep {
  double ideal = 0;      // work shared perfectly among the stage's devices
  double imbalance = 0;  // the slowest rank's work beyond that
  double launch = 0;
  double reduce_latency = 0;
  double reduce_bandwidth = 0;
  double total() const { return ideal + imbalance + launch + reduce_latency + reduce_bandwidth; }
};

double launch_s(const TimeTerms& terms, const DeviceRates& device) {
  return device.backend->layer_us * 1e-6 * terms.layer_factor();
}

StageStep stage_step(const TimeTerms& terms, const StageSketch& stage, double batch) {
  const EngineProfile& engine = terms.engine();
  const RangeCosts costs = terms.costs_of(stage);
  const auto& active = terms.workload().concurrency > 1 ? terms.all_devices() : stage.devices;
  const double context = terms.workload().mean_context();
  const double duty = 1.0 / static_cast<double>(terms.sketch().size());
  StageStep step;
  double rate = 0;
  double slowest = 0;
  for (std::size_t i = 0; i < stage.devices.size(); ++i) {
    const DeviceRates device = terms.while_active(stage.devices[i], active);
    const auto work = [&](const RangeCosts& part) {
      return decode_work_s(terms.model(), part, device, context, batch, engine.kv_window) *
             power_slowdown(device, engine, duty);
    };
    rate += 1 / work(costs);
    slowest = std::max(slowest,
                       part_s(costs, stage.shares[i], terms.expert_share(stage, i, batch), work));
  }
  step.ideal = 1 / rate;
  step.imbalance = std::max(0.0, slowest - step.ideal);
  step.launch = costs.layers * launch_s(terms, terms.bench().devices[stage.devices.front()]);
  if (stage.devices.size() > 1) {
    const AllReduceTime reduce = terms.reduction(stage, batch);
    // Two a layer: after attention and after the feed-forward (Shoeybi et al., "Megatron-LM").
    step.reduce_latency = 2 * costs.layers * (reduce.latency_s + terms.reduction_software_s()) +
                          terms.leading().group_wait * slowest;
    step.reduce_bandwidth = 2 * costs.layers * reduce.bandwidth_s;
  }
  return step;
}

// Stages that hold a part of the output matrix.
std::int64_t num_outputs(const TimeTerms& terms) {
  return std::count_if(terms.sketch().begin(), terms.sketch().end(), [&](const StageSketch& stage) {
    return terms.costs_of(stage).output_bytes > 0;
  });
}

// Where every stage holds a part of the output matrix, the parts of one token are computed at the
// same time, not by turns as its layers are.
double saved_by_shared_output(const TimeTerms& terms, double batch) {
  double by_turns = 0;
  double together = 0;
  for (const StageSketch& stage : terms.sketch()) {
    const auto& active = terms.workload().concurrency > 1 ? terms.all_devices() : stage.devices;
    by_turns += terms.output_s(stage, batch, active);
    together = std::max(together, terms.output_s(stage, batch, terms.all_devices()));
  }
  return std::max(0.0, by_turns - together);
}

// Splits decode_step_s - ideal into causes. Had the groups of sequences passed one by one, the
// round would have taken groups x pass: what overlap saves of that is taken off the bubble, and
// off the other causes in proportion where the bubble is smaller.
void attribute(const TimeTerms& terms, TimeEstimate& out, const StageStep& sum, double hops,
               double groups, double batch) {
  const EngineProfile& engine = terms.engine();
  const double host = terms.host_s();
  const RangeCosts whole = terms.model().whole();
  double best = 0;
  double rate = 0;
  double launch = 0;
  for (const StageSketch& stage : terms.sketch()) {
    for (const std::size_t index : stage.devices) {
      const DeviceRates& device = terms.bench().devices[index];
      const auto seconds = [&](const DeviceRates& rates) {
        return decode_work_s(terms.model(), whole, rates, terms.workload().mean_context(), batch,
                             engine.kv_window) *
               power_slowdown(rates, engine, 1.0);
      };
      const double work = seconds(device);
      rate += 1 / seconds(terms.while_active(index, terms.all_devices()));
      if (best == 0 || work < best) {
        best = work;
        launch = whole.layers * launch_s(terms, device);
      }
    }
  }
  out.theoretical_speedup = std::max(1.0, best * rate);
  out.single_step_s = best + launch + host;
  const double ideal = out.ideal_step_s();
  const double speedup = out.theoretical_speedup;
  ScalingLosses& losses = out.losses;
  losses.all_reduce_latency = groups * sum.reduce_latency;
  losses.all_reduce_bandwidth = groups * sum.reduce_bandwidth;
  losses.stage_transfer = groups * hops;
  losses.imbalance = groups * sum.imbalance;
  losses.launch = std::max(0.0, groups * sum.launch - launch / speedup);
  losses.host = std::max(0.0, host - host / speedup);
  const double named = losses.all_reduce_latency + losses.all_reduce_bandwidth +
                       losses.stage_transfer + losses.imbalance + losses.launch + losses.host;
  const double lost = std::max(0.0, out.decode_step_s - ideal);
  losses.bubble = std::max(0.0, lost - named);
  if (named > lost) {
    const double scale = named > 0 ? lost / named : 0;
    for (double* loss : {&losses.all_reduce_latency, &losses.all_reduce_bandwidth,
                         &losses.stage_transfer, &losses.imbalance, &losses.launch, &losses.host}) {
      *loss *= scale;
    }
  }
}

}  // namespace

void estimate_decode(const TimeTerms& terms, TimeEstimate& out) {
  const double sequences = terms.workload().concurrency;
  const double groups = std::min(sequences, static_cast<double>(terms.sketch().size()));
  const double batch = sequences / groups;
  StageStep sum;
  double slowest = 0;
  for (const StageSketch& stage : terms.sketch()) {
    const StageStep step = stage_step(terms, stage, batch);
    sum.ideal += step.ideal;
    sum.imbalance += step.imbalance;
    sum.launch += step.launch;
    sum.reduce_latency += step.reduce_latency;
    sum.reduce_bandwidth += step.reduce_bandwidth;
    slowest = std::max(slowest, step.total());
  }
  double hops = 0;
  for (std::size_t i = 1; i < terms.sketch().size(); ++i) {
    hops += terms.hop_s(terms.sketch()[i - 1], terms.sketch()[i], batch);
  }
  if (num_outputs(terms) > 1) {
    hops += terms.hop_s(terms.sketch().back(), terms.sketch().front(), batch);
    sum.ideal = std::max(0.0, sum.ideal - saved_by_shared_output(terms, batch));
  }
  const double host = terms.host_s();
  const double pass = sum.total() + hops + host;
  out.decode_step_s = std::max(pass, groups * slowest + host);
  attribute(terms, out, sum, hops, groups, batch * groups);
}

}  // namespace tandem
