#include "app/local_rates.h"

#include <algorithm>

#include "app/bench/ceiling_survey.h"
#include "plan/calibration.h"

namespace tandem {
namespace {

// Enough to miss the last-level cache with two devices, and short.
constexpr CeilingOptions kQuick = {
    .read_bytes = std::int64_t{160} << 20, .seconds_each = 0.006, .rounds = 2};
constexpr std::int64_t kHiddenSize = 4096;  // of the reduced message

}  // namespace

Status measure_local_rates(Machine& machine) {
  SurveyRequest request;
  request.options = kQuick;
  request.hidden_size = kHiddenSize;
  MachineDevice rest;
  for (const MachineDevice& device : machine.devices) {
    if (device.kind != MachineDeviceKind::kCpu || device.cores.empty()) continue;
    if (request.devices.empty()) {
      request.devices.push_back(device);
    } else {
      rest.cores.insert(rest.cores.end(), device.cores.begin(), device.cores.end());
    }
  }
  if (request.devices.empty()) return {};
  const std::string first = request.devices.front().id;
  if (!rest.cores.empty()) {
    rest.id = "the others";
    request.devices.push_back(rest);
    request.sets.push_back({first, rest.id});
  }
  TANDEM_TRY(const CeilingSurvey survey, survey_ceilings(request));
  const Ceilings& alone = *survey.find({first});
  Machine measured;
  measured.host.cpu = machine.host.cpu;
  measured.devices.push_back(request.devices.front());
  MachineDevice& device = measured.devices.front();
  device.bandwidth_gbps = alone.read_gbps;
  device.products = ProductRates{alone.int8_gops, alone.bf16_gflops, alone.float_gflops};
  measured.host.bandwidth_gbps = survey.sets.back().rates.read_gbps;
  if (!survey.links.empty()) {
    const MeasuredLink& link = survey.links.front();
    measured.devices.push_back(rest);
    measured.links.push_back(
        {first, rest.id, LinkKind::kSharedMemory, link.bandwidth_gbps, link.latency_us, true});
  }
  apply_measured_rates(measured, machine);
  return {};
}

}  // namespace tandem
