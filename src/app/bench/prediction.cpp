#include "app/bench/prediction.h"

#include <algorithm>

#include "plan/model_costs.h"

namespace tandem {

Machine measured_machine(const BenchReport& report) {
  Machine machine;
  for (const MachineDevice& device : report.devices) {
    MachineDevice measured = device;
    const CpuCeilings* rates = report.ceilings.find({device.id});
    if (rates != nullptr && rates->read_gbps > 0) {
      measured.bandwidth_gbps = report.ceilings.read_gbps({device.id});
      measured.products = ProductRates{rates->int8_gops, rates->bf16_gflops, rates->float_gflops};
    }
    machine.devices.push_back(std::move(measured));
  }
  double together = 0;
  for (const DeviceSetCeilings& set : report.ceilings.sets) {
    together = std::max(together, report.ceilings.read_gbps(set.devices));
  }
  if (together > 0) machine.host.bandwidth_gbps = together;
  for (const MeasuredLink& link : report.ceilings.links) {
    machine.links.push_back(
        {link.a, link.b, LinkKind::kSharedMemory, link.bandwidth_gbps, link.latency_us, true});
  }
  machine.host.cpu = report.processor;
  return machine;
}

Result<Prediction> predict_rates(const ModelSpec& spec, Plan plan, const BenchReport& report,
                                 const Machine& machine, const EngineProfile& engine,
                                 std::int32_t concurrency) {
  TANDEM_TRY(const Bench bench, bench_of(machine, engine));
  Workload workload;
  workload.prompt_tokens = report.prompt_tokens;
  workload.generated_tokens = report.gen_tokens;
  workload.concurrency = concurrency;
  TANDEM_TRY_STATUS(predict(plan, ModelCosts(spec, plan.kv.type), bench, workload));
  return *plan.predicted;
}

}  // namespace tandem
