#include "plan/sketch.h"

#include <algorithm>

namespace tandem {

Result<Bench> bench_of(const Machine& machine, const EngineProfile& engine) {
  Bench bench;
  bench.engine = &engine;
  for (const MachineDevice& device : machine.devices) {
    TANDEM_TRY(DeviceRates rates, rates_of(device, engine));
    bench.devices.push_back(rates);
    bench.ids.push_back(device.id);
  }
  bench.host_bandwidth_bytes = machine.host.bandwidth_gbps.value_or(0) * 1e9;
  bench.wires.resize(machine.devices.size());
  for (std::size_t a = 0; a < machine.devices.size(); ++a) {
    for (std::size_t b = 0; b < machine.devices.size(); ++b) {
      bench.wires[a].push_back(wire_between(machine, machine.devices[a], machine.devices[b]));
    }
  }
  return bench;
}

Result<Sketch> sketch_of(const Plan& plan, const Bench& bench, const ModelCosts& model) {
  Sketch sketch;
  for (const StagePlan& stage : plan.stages) {
    const auto part = [](const Interval& held, std::int64_t all) {
      return all > 0 ? static_cast<double>(held.size()) / static_cast<double>(all) : 1.0;
    };
    StageSketch out{stage.first_layer, stage.num_layers, {}, {}};
    out.by_expert = plan.split_by_expert;
    out.output_share = 0;
    for (const RankPlan& rank : stage.ranks) {
      *out.output_share += part(rank.shard.vocabulary, model.vocabulary());
    }
    const RangeCosts costs =
        model.range_with(stage.first_layer, stage.num_layers, *out.output_share);
    const double output = model.output_bytes();
    const double dense =
        std::max(0.0, costs.bytes - costs.attention_bytes - *out.output_share * output);
    for (const RankPlan& rank : stage.ranks) {
      const auto found = std::find(bench.ids.begin(), bench.ids.end(), rank.device);
      if (found == bench.ids.end())
        return not_found("plan names a device that is not there", rank.device);
      out.devices.push_back(static_cast<std::size_t>(found - bench.ids.begin()));
      const RankShard& shard = rank.shard;
      const double width = part(shard.ffn, model.ffn_width());
      out.shares.push_back((costs.attention_bytes * part(shard.q_heads, model.num_q_heads()) +
                            dense * width + output * part(shard.vocabulary, model.vocabulary())) /
                           std::max(1.0, costs.bytes));
      if (model.has_experts()) {
        out.expert_shares.push_back(width * part(shard.experts, model.num_experts()));
      }
    }
    sketch.push_back(std::move(out));
  }
  return sketch;
}

}  // namespace tandem
