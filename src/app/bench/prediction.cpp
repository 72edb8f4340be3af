#include "app/bench/prediction.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/bench/roofline.h"
#include "machine/machine_json.h"
#include "plan/engine_profile.h"
#include "plan/model_costs.h"

namespace tandem {
namespace {

const BenchRow* row_of(const BenchReport& report, bool is_single, bool is_tensor) {
  for (const BenchRow& row : report.rows) {
    const bool tensor = row.num_devices > 1 && row.decode.times.ranks.back().stage == 0;
    if (row.concurrency != report.rows.front().concurrency) continue;
    if (is_single ? row.num_devices == 1 : tensor == is_tensor && row.num_devices > 1) return &row;
  }
  return nullptr;
}

// Reading and products as fractions of what rates_of() takes the device for; serial parts in
// microseconds. One device's decode determines memory_efficiency, its prompt matmul_efficiency.
void fit_one_device(const ModelSpec& spec, const BenchReport& report, const BenchRow& row,
                    EngineProfile& engine) {
  BackendProfile& cpu = engine.backends["cpu"];
  const auto rates = rates_of(measured_machine(report, row.devices).devices.front(), engine);
  if (!rates.ok()) return;
  const ElementType kv = ElementType::kF16;
  const PhaseCost decode =
      decode_cost(spec, kv, row.concurrency, report.prompt_tokens, report.gen_tokens);
  const PhaseCost prompt = prompt_cost(spec, kv, report.prompt_tokens);
  const RunTimes& times = row.decode.times;
  const double compute = times.ranks.front().compute;
  cpu.matvec_ops_half = cpu.matvec_ops_quantised = 0;
  cpu.layer_us = cpu.prefill_layer_us = 0;
  cpu.score_passes = cpu.activation_hidden = cpu.activation_width = 0;
  cpu.quantised_factor = cpu.attention_factor = 1;
  cpu.memory_efficiency = cpu.kv_efficiency = decode.bytes / compute / rates->bandwidth_bytes;
  cpu.matmul_efficiency = prompt.operations / row.prefill.times.wall / rates->matrix_ops;
  engine.host_us = 1e6 * std::max(0.0, times.wall - compute) / decode.num_steps;
  engine.micro_batch_tokens = report.prompt_tokens;
}

void fit_reductions(const ModelSpec& spec, const BenchReport& report, const BenchRow& row,
                    EngineProfile& engine) {
  double reducing = 0;
  for (const RankTimes& rank : row.decode.times.ranks) reducing += rank.wait + rank.reduce;
  const double count =
      2.0 * spec.num_layers * report.gen_tokens * static_cast<double>(row.num_devices);
  const double latency = report.ceilings.links.empty() ? 0 : report.ceilings.links[0].latency_us;
  engine.all_reduce_us = std::max(0.0, 1e6 * reducing / count - latency);
}

nlohmann::json backend_json(const BackendProfile& backend) {
  return {{"memory_efficiency", backend.memory_efficiency},
          {"kv_efficiency", backend.kv_efficiency},
          {"matvec_ops_half", backend.matvec_ops_half},
          {"matvec_ops_quantised", backend.matvec_ops_quantised},
          {"layer_us", backend.layer_us},
          {"prefill_layer_us", backend.prefill_layer_us},
          {"matmul_efficiency", backend.matmul_efficiency},
          {"quantised_factor", backend.quantised_factor},
          {"attention_factor", backend.attention_factor},
          {"score_passes", backend.score_passes},
          {"activation_hidden", backend.activation_hidden},
          {"activation_width", backend.activation_width}};
}

nlohmann::json engine_json(const EngineProfile& engine) {
  nlohmann::json backends = nlohmann::json::object();
  for (const auto& [name, backend] : engine.backends) backends[name] = backend_json(backend);
  return {{"name", engine.name},
          {"aliases", engine.aliases},
          {"half_accumulate", engine.half_accumulate},
          {"kv_window", engine.kv_window},
          {"expert_layer_factor", engine.expert_layer_factor},
          {"linear_layer_factor", engine.linear_layer_factor},
          {"stage_hop_us", engine.stage_hop_us},
          {"pipeline_overlap", engine.pipeline_overlap},
          {"all_reduce_us", engine.all_reduce_us},
          {"host_us", engine.host_us},
          {"micro_batch_tokens", engine.micro_batch_tokens},
          {"activation_bytes", engine.activation_bytes},
          {"decode_power_share", engine.decode_power_share},
          {"typical", {{"low", engine.typical_low}, {"high", engine.typical_high}}},
          {"backends", std::move(backends)},
          {"source", engine.source}};
}

}  // namespace

Machine measured_machine(const BenchReport& report, const std::vector<std::string>& used) {
  Machine machine;
  double alone = 0;
  for (const std::string& id : used) {
    const CpuCeilings* rates = report.ceilings.find({id});
    alone += rates == nullptr ? 0 : rates->read_gbps;
  }
  const CpuCeilings* together = report.ceilings.find(used);
  const double part =
      together == nullptr || alone <= 0 ? 1.0 : std::min(1.0, together->read_gbps / alone);
  for (const MachineDevice& device : report.devices) {
    MachineDevice measured = device;
    const CpuCeilings* rates = report.ceilings.find({device.id});
    if (rates != nullptr && rates->read_gbps > 0) {
      measured.bandwidth_gbps = rates->read_gbps * part;
    }
    machine.devices.push_back(std::move(measured));
  }
  for (const MeasuredLink& link : report.ceilings.links) {
    machine.links.push_back(
        {link.a, link.b, LinkKind::kSharedMemory, link.bandwidth_gbps, link.latency_us, true});
  }
  machine.host.cpu = report.processor;
  return machine;
}

Result<Prediction> predict_rates(const ModelSpec& spec, Plan plan, const BenchReport& report,
                                 std::int32_t concurrency) {
  std::vector<std::string> used;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) used.push_back(rank.device);
  }
  TANDEM_TRY(const EngineProfile* engine, find_engine("tandem"));
  const Machine machine = measured_machine(report, used);
  TANDEM_TRY(const Bench bench, bench_of(machine, *engine));
  Workload workload;
  workload.prompt_tokens = report.prompt_tokens;
  workload.generated_tokens = report.gen_tokens;
  workload.concurrency = concurrency;
  TANDEM_TRY_STATUS(predict(plan, ModelCosts(spec, plan.kv.type), bench, workload));
  return *plan.predicted;
}

nlohmann::json calibration_json(const ModelSpec& spec, const BenchReport& report) {
  EngineProfile engine = **find_engine("tandem");
  if (const BenchRow* row = row_of(report, true, false)) {
    fit_one_device(spec, report, *row, engine);
  }
  if (const BenchRow* row = row_of(report, false, true)) {
    fit_reductions(spec, report, *row, engine);
  }
  engine.typical_low = 0.9;
  engine.typical_high = 1.1;
  engine.source = "measured by `tandem bench --calibrate` with " + report.model;
  std::vector<std::string> all;
  for (const MachineDevice& device : report.devices) all.push_back(device.id);
  return {{"machine", machine_to_json(measured_machine(report, all))},
          {"engines", nlohmann::json::array({engine_json(engine)})}};
}

}  // namespace tandem
