#include "plan/time_terms.h"

#include <algorithm>

#include "plan/device_work.h"

namespace tandem {
namespace {

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

}  // namespace

const BackendProfile& leading_backend(const Sketch& sketch, const Bench& bench) {
  for (const StageSketch& stage : sketch) {
    const DeviceRates& device = bench.devices[stage.devices.front()];
    if (!device.is_cpu) return *device.backend;
  }
  return *bench.devices[sketch.front().devices.front()].backend;
}

TimeTerms::TimeTerms(const ModelCosts& model, const Sketch& sketch, const Bench& bench,
                     const Workload& workload)
    : model_(model),
      sketch_(sketch),
      bench_(bench),
      workload_(workload),
      leading_(leading_backend(sketch, bench)) {
  for (const StageSketch& stage : sketch) {
    all_.insert(all_.end(), stage.devices.begin(), stage.devices.end());
  }
}

RangeCosts TimeTerms::costs_of(const StageSketch& stage) const {
  const double output = stage.output_share.value_or(&stage == &sketch_.back() ? 1.0 : 0.0);
  return model_.range_with(stage.first_layer, stage.num_layers, output);
}

DeviceRates TimeTerms::while_active(std::size_t index,
                                    const std::vector<std::size_t>& active) const {
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

double TimeTerms::expert_share(const StageSketch& stage, std::size_t index, double tokens) const {
  const double share =
      stage.expert_shares.empty() ? stage.shares[index] : stage.expert_shares[index];
  return stage.by_expert ? share * busiest_expert_share(model_, stage.devices.size(), tokens)
                         : share;
}

double TimeTerms::layer_factor() const {
  if (model_.has_experts()) return engine().expert_layer_factor;
  return model_.has_linear_layers() ? engine().linear_layer_factor : 1.0;
}

double TimeTerms::host_s() const {
  return leading_.host_us.value_or(engine().host_us) * 1e-6;
}

AllReduceTime TimeTerms::reduction(const StageSketch& stage, double tokens) const {
  return all_reduce_time(reduction_wire(bench_, stage.devices),
                         static_cast<int>(stage.devices.size()),
                         tokens * model_.hidden() * engine().activation_bytes);
}

double TimeTerms::reduction_software_s() const {
  return leading_.all_reduce_us.value_or(engine().all_reduce_us) * 1e-6;
}

double TimeTerms::hop_s(const StageSketch& from, const StageSketch& to, double tokens) const {
  const double bytes = tokens * model_.hidden() * engine().activation_bytes;
  const Wire& wire = bench_.wires[from.devices.front()][to.devices.front()];
  const BackendProfile& sender = *bench_.devices[from.devices.front()].backend;
  return (sender.stage_hop_us.value_or(engine().stage_hop_us) + wire.latency_us) * 1e-6 +
         bytes / (wire.bandwidth_gbps * 1e9);
}

double TimeTerms::output_s(const StageSketch& stage, double batch,
                           const std::vector<std::size_t>& active) const {
  const double share = costs_of(stage).output_bytes / std::max(1.0, model_.output_bytes());
  const RangeCosts costs = model_.range_with(0, 0, share);
  double slowest = 0;
  for (std::size_t i = 0; i < stage.devices.size(); ++i) {
    const DeviceRates device = while_active(stage.devices[i], active);
    slowest = std::max(slowest, stage.shares[i] * decode_work_s(model_, costs, device, 0, batch,
                                                                engine().kv_window));
  }
  return slowest;
}

}  // namespace tandem
