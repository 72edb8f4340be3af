#include "plan/time_model.h"

#include <algorithm>
#include <cmath>

#include "plan/device_work.h"

namespace tandem {
namespace {

// Launches of a layer: more kernels where tokens are routed to experts or attention is linear.
double layer_factor(const ModelCosts& model, const EngineProfile& engine) {
  if (model.has_experts()) return engine.expert_layer_factor;
  return model.has_linear_layers() ? engine.linear_layer_factor : 1.0;
}

// The slowest wire inside a group sets its all-reduce.
Wire slowest_wire(const Bench& bench, const std::vector<std::size_t>& devices) {
  Wire slowest{1e9, 0, true, true};
  for (const std::size_t a : devices) {
    for (const std::size_t b : devices) {
      if (a == b) continue;
      const Wire& wire = bench.wires[a][b];
      slowest.bandwidth_gbps = std::min(slowest.bandwidth_gbps, wire.bandwidth_gbps);
      slowest.latency_us = std::max(slowest.latency_us, wire.latency_us);
      slowest.peer = slowest.peer && wire.peer;
      slowest.nvlink = slowest.nvlink && wire.nvlink;
    }
  }
  return slowest;
}

// The wire as a reduction's steps see it: kernels write and poll, and start no copies.
Wire reduction_wire(const Bench& bench, const std::vector<std::size_t>& devices) {
  Wire wire = slowest_wire(bench, devices);
  const bool on_gpu = !bench.devices[devices.front()].is_cpu;
  if (on_gpu) wire.latency_us *= bench.engine->reduce_step_share;
  return wire;
}

// Seconds to hand `bytes` from one stage's first device to the next stage's.
double hop_s(const Bench& bench, const StageSketch& from, const StageSketch& to, double bytes) {
  const Wire& wire = bench.wires[from.devices.front()][to.devices.front()];
  const BackendProfile& sender = *bench.devices[from.devices.front()].backend;
  return (sender.stage_hop_us.value_or(bench.engine->stage_hop_us) + wire.latency_us) * 1e-6 +
         bytes / (wire.bandwidth_gbps * 1e9);
}

// Seconds of the part `share` of the dense work of `costs` and `expert_share` of its experts'.
template <typename Work>
double part_s(const RangeCosts& costs, double share, double expert_share, const Work& work) {
  if (costs.expert_weights <= 0 || share == expert_share) return share * work(costs);
  RangeCosts dense = costs;
  dense.expert_bytes = dense.expert_weights = 0;
  RangeCosts experts;
  experts.expert_bytes = costs.expert_bytes;
  experts.expert_weights = costs.expert_weights;
  return share * work(dense) + expert_share * work(experts);
}

struct StageStep {
  double ideal = 0;      // work shared perfectly among the stage's devices
  double imbalance = 0;  // the slowest rank's work beyond that
  double launch = 0;
  double reduce_latency = 0;
  double reduce_bandwidth = 0;
  double total() const { return ideal + imbalance + launch + reduce_latency + reduce_bandwidth; }
};

// Whose constants stand for the whole: the first GPU, else the first device. A processor that holds
// some layers beside GPUs comes first.
const BackendProfile& leading_backend(const Sketch& sketch, const Bench& bench) {
  for (const StageSketch& stage : sketch) {
    const DeviceRates& device = bench.devices[stage.devices.front()];
    if (!device.is_cpu) return *device.backend;
  }
  return *bench.devices[sketch.front().devices.front()].backend;
}

class Estimator {
 public:
  Estimator(const ModelCosts& model, const Sketch& sketch, const Bench& bench,
            const Workload& workload)
      : model_(model),
        sketch_(sketch),
        bench_(bench),
        engine_(*bench.engine),
        workload_(workload),
        leading_(leading_backend(sketch, bench)) {
    for (const StageSketch& stage : sketch) {
      all_.insert(all_.end(), stage.devices.begin(), stage.devices.end());
    }
  }

  TimeEstimate estimate() const {
    TimeEstimate out;
    estimate_decode(out);
    out.prefill_s = prefill_seconds();
    return out;
  }

 private:
  RangeCosts costs_of(const StageSketch& stage) const {
    const double output = stage.output_share.value_or(&stage == &sketch_.back() ? 1.0 : 0.0);
    return model_.range_with(stage.first_layer, stage.num_layers, output);
  }

  // The device while all of `active` work: processors read one memory by turns, each in proportion
  // to what it reads alone. One whose cores fill the memory's bus stands for several, too.
  DeviceRates while_active(std::size_t index, const std::vector<std::size_t>& active) const {
    DeviceRates device = bench_.devices[index];
    const double host = bench_.host_bandwidth_bytes;
    if (!device.is_cpu || host <= 0) return device;
    double together = 0;
    for (const std::size_t other : active) {
      if (bench_.devices[other].is_cpu) together += bench_.devices[other].bandwidth_bytes;
    }
    const bool alone = together <= device.bandwidth_bytes && together < host;
    if (!alone) device.shared_bytes = device.bandwidth_bytes * std::min(1.0, host / together);
    return device;
  }

  double expert_share(const StageSketch& stage, std::size_t index, double tokens) const {
    const double share =
        stage.expert_shares.empty() ? stage.shares[index] : stage.expert_shares[index];
    return stage.by_expert ? share * busiest_expert_share(model_, stage.devices.size(), tokens)
                           : share;
  }

  std::int32_t stage_micro_batch_tokens() const {
    return workload_.stage_micro_batch_tokens > 0 ? workload_.stage_micro_batch_tokens
                                                  : engine_.stage_micro_batch_tokens;
  }

  double all_reduce_us() const { return leading_.all_reduce_us.value_or(engine_.all_reduce_us); }
  double host_s() const { return leading_.host_us.value_or(engine_.host_us) * 1e-6; }

  StageStep stage_step(const StageSketch& stage, double batch) const {
    const RangeCosts costs = costs_of(stage);
    const bool all_at_work = workload_.concurrency > 1;
    const double context = workload_.mean_context();
    const double duty = 1.0 / static_cast<double>(sketch_.size());
    StageStep step;
    double rate = 0;
    double slowest = 0;
    for (std::size_t i = 0; i < stage.devices.size(); ++i) {
      const DeviceRates device = while_active(stage.devices[i], all_at_work ? all_ : stage.devices);
      const auto work = [&](const RangeCosts& part) {
        return decode_work_s(model_, part, device, context, batch, engine_.kv_window) *
               power_slowdown(device, engine_, duty);
      };
      rate += 1 / work(costs);
      slowest =
          std::max(slowest, part_s(costs, stage.shares[i], expert_share(stage, i, batch), work));
    }
    step.ideal = 1 / rate;
    step.imbalance = std::max(0.0, slowest - step.ideal);
    step.launch = costs.layers * launch_s(bench_.devices[stage.devices.front()]);
    if (stage.devices.size() > 1) {
      const auto reduce = all_reduce_time(reduction_wire(bench_, stage.devices),
                                          static_cast<int>(stage.devices.size()),
                                          batch * model_.hidden() * engine_.activation_bytes);
      // Two a layer: after attention and after the feed-forward (Shoeybi et al., "Megatron-LM").
      step.reduce_latency = 2 * costs.layers * (reduce.latency_s + all_reduce_us() * 1e-6) +
                            leading_.group_wait * slowest;
      step.reduce_bandwidth = 2 * costs.layers * reduce.bandwidth_s;
    }
    return step;
  }

  double launch_s(const DeviceRates& device) const {
    return device.backend->layer_us * 1e-6 * layer_factor(model_, engine_);
  }

  // One token of each sequence. The stages take turns on a single sequence; with several, groups
  // of sequences keep all stages busy, and the round lasts as long as the slowest stage needs for
  // all groups, or one group needs for all stages.
  void estimate_decode(TimeEstimate& out) const {
    const double sequences = workload_.concurrency;
    const double groups = std::min(sequences, static_cast<double>(sketch_.size()));
    const double batch = sequences / groups;
    StageStep sum;
    double slowest = 0;
    for (const StageSketch& stage : sketch_) {
      const StageStep step = stage_step(stage, batch);
      sum.ideal += step.ideal;
      sum.imbalance += step.imbalance;
      sum.launch += step.launch;
      sum.reduce_latency += step.reduce_latency;
      sum.reduce_bandwidth += step.reduce_bandwidth;
      slowest = std::max(slowest, step.total());
    }
    const double state_bytes = batch * model_.hidden() * engine_.activation_bytes;
    double hops = 0;
    for (std::size_t i = 1; i < sketch_.size(); ++i) {
      hops += hop_s(bench_, sketch_[i - 1], sketch_[i], state_bytes);
    }
    if (num_outputs() > 1) {
      hops += hop_s(bench_, sketch_.back(), sketch_.front(), state_bytes);
      sum.ideal = std::max(0.0, sum.ideal - saved_by_shared_output(batch));
    }
    const double host = host_s();
    const double pass = sum.total() + hops + host;
    out.decode_step_s = std::max(pass, groups * slowest + host);
    attribute(out, sum, hops, host, groups, batch * groups);
  }

  // Splits decode_step_s - ideal into causes. Had the groups of sequences passed one by one, the
  // round would have taken groups x pass: what overlap saves of that is taken off the bubble, and
  // off the other causes in proportion where the bubble is smaller.
  void attribute(TimeEstimate& out, const StageStep& sum, double hops, double host, double groups,
                 double batch) const {
    const RangeCosts whole = model_.whole();
    double best = 0;
    double rate = 0;
    double launch = 0;
    for (const StageSketch& stage : sketch_) {
      for (const std::size_t index : stage.devices) {
        const DeviceRates& device = bench_.devices[index];
        const auto seconds = [&](const DeviceRates& rates) {
          return decode_work_s(model_, whole, rates, workload_.mean_context(), batch,
                               engine_.kv_window) *
                 power_slowdown(rates, engine_, 1.0);
        };
        const double work = seconds(device);
        rate += 1 / seconds(while_active(index, all_));
        if (best == 0 || work < best) {
          best = work;
          launch = whole.layers * launch_s(device);
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
      for (double* loss :
           {&losses.all_reduce_latency, &losses.all_reduce_bandwidth, &losses.stage_transfer,
            &losses.imbalance, &losses.launch, &losses.host}) {
        *loss *= scale;
      }
    }
  }

  // Micro-batches follow one another through the stages: with p stages and m micro-batches the
  // ideal time is (m + p - 1) turns instead of m x p, a bubble of (p-1)/(m+p-1) (Huang et al.,
  // "GPipe", 2019). Engines reach `pipeline_overlap` of that gain.
  double prefill_seconds() const {
    if (workload_.prompt_tokens <= 0) return 0;
    const double prompt = static_cast<double>(workload_.prompt_tokens);
    const double tokens = std::min<double>(
        prompt, sketch_.size() > 1 ? stage_micro_batch_tokens() : engine_.micro_batch_tokens);
    const double batches = std::ceil(prompt / tokens);
    const double context = static_cast<double>(workload_.depth_tokens) + prompt / 2;
    double pass = 0;
    double slowest = 0;
    double output = 0;
    for (std::size_t i = 0; i < sketch_.size(); ++i) {
      output = std::max(output, output_s(sketch_[i], 1, all_));  // of the last token alone
      double turn = prefill_turn(sketch_[i], tokens, context);
      slowest = std::max(slowest, turn);
      if (i > 0) {
        turn += hop_s(bench_, sketch_[i - 1], sketch_[i],
                      tokens * model_.hidden() * engine_.activation_bytes);
      }
      pass += turn;
    }
    const double full = prompt / tokens;  // the last micro-batch may be short
    const double serial = full * pass;
    const double piped = pass + (full - 1) * slowest;
    const double reached = leading_.pipeline_overlap.value_or(engine_.pipeline_overlap);
    const double overlap = sketch_.size() > 1 && batches > 1 ? reached : 0.0;
    return serial * (1 - overlap) + piped * overlap + output;
  }

  // Seconds of the stage's part of the output matrix for `batch` tokens, while all of `active`
  // work.
  double output_s(const StageSketch& stage, double batch,
                  const std::vector<std::size_t>& active) const {
    const double share = costs_of(stage).output_bytes / std::max(1.0, model_.output_bytes());
    const RangeCosts costs = model_.range_with(0, 0, share);
    double slowest = 0;
    for (std::size_t i = 0; i < stage.devices.size(); ++i) {
      const DeviceRates device = while_active(stage.devices[i], active);
      slowest = std::max(slowest, stage.shares[i] * decode_work_s(model_, costs, device, 0, batch,
                                                                  engine_.kv_window));
    }
    return slowest;
  }

  // Stages that hold a part of the output matrix.
  std::int64_t num_outputs() const {
    return std::count_if(sketch_.begin(), sketch_.end(), [&](const StageSketch& stage) {
      return costs_of(stage).output_bytes > 0;
    });
  }

  // Where every stage holds a part of the output matrix, the parts of one token are computed at the
  // same time, not by turns as its layers are.
  double saved_by_shared_output(double batch) const {
    double by_turns = 0;
    double together = 0;
    for (const StageSketch& stage : sketch_) {
      by_turns += output_s(stage, batch, workload_.concurrency > 1 ? all_ : stage.devices);
      together = std::max(together, output_s(stage, batch, all_));
    }
    return std::max(0.0, by_turns - together);
  }

  double prefill_turn(const StageSketch& stage, double tokens, double context) const {
    const RangeCosts costs = costs_of(stage);
    double slowest = 0;
    double launch = 0;
    for (std::size_t i = 0; i < stage.devices.size(); ++i) {
      const DeviceRates device = while_active(stage.devices[i], all_);
      const auto work = [&](const RangeCosts& part) {
        return prefill_work_s(model_, part, device, tokens, context);
      };
      slowest =
          std::max(slowest, part_s(costs, stage.shares[i], expert_share(stage, i, tokens), work));
      launch = std::max(launch, device.backend->prefill_layer_us * 1e-6 * costs.layers *
                                    layer_factor(model_, engine_));
    }
    double reduce = 0;
    if (stage.devices.size() > 1) {
      reduce = 2 * costs.layers *
                   (all_reduce_time(reduction_wire(bench_, stage.devices),
                                    static_cast<int>(stage.devices.size()),
                                    tokens * model_.hidden() * engine_.activation_bytes)
                        .total_s() +
                    all_reduce_us() * 1e-6) +
               leading_.prefill_group_wait * slowest;
    }
    return slowest + launch + reduce;
  }

  const ModelCosts& model_;
  const Sketch& sketch_;
  const Bench& bench_;
  const EngineProfile& engine_;
  const Workload& workload_;
  const BackendProfile& leading_;
  std::vector<std::size_t> all_;  // devices of all stages
};

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
  return Estimator(model, sketch, bench, workload).estimate();
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
