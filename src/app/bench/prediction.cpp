#include "app/bench/prediction.h"

#include <algorithm>

#include "machine/device_list.h"
#include "plan/model_costs.h"

namespace tandem {

namespace {

Link measured_link(const MeasuredLink& measured, const std::vector<Link>& known) {
  Link link{measured.a,          measured.b, LinkKind::kSharedMemory, measured.bandwidth_gbps,
            measured.latency_us, true};
  if (measured.transport == "memory") return link;
  link.kind = LinkKind::kUnknown;
  const std::string a = whole_device_id(measured.a);
  const std::string b = whole_device_id(measured.b);
  for (const Link& other : known) {
    const bool is_it = (other.a == a && other.b == b) || (other.a == b && other.b == a);
    if (is_it) link.kind = other.kind;
  }
  link.peer_access = measured.transport == "peer";
  return link;
}

}  // namespace

Machine measured_machine(const BenchReport& report) {
  Machine machine;
  for (const MachineDevice& device : report.devices) {
    MachineDevice measured = device;
    const Ceilings* rates = report.ceilings.find({device.id});
    if (rates != nullptr && rates->read_gbps > 0) {
      measured.bandwidth_gbps = report.ceilings.read_gbps({device.id});
      measured.products = ProductRates{rates->int8_gops, rates->bf16_gflops, rates->float_gflops};
    }
    machine.devices.push_back(std::move(measured));
  }
  double together = 0;  // that cores read
  for (const DeviceSetCeilings& set : report.ceilings.sets) {
    if (cores_of(report.devices, set.devices).empty()) continue;
    together = std::max(together, report.ceilings.read_gbps(set.devices));
  }
  if (together > 0) machine.host.bandwidth_gbps = together;
  for (const MeasuredLink& link : report.ceilings.links) {
    machine.links.push_back(measured_link(link, report.links));
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
