#include "app/bench/gpu_probes.h"

#include <algorithm>
#include <barrier>
#include <thread>

#include "machine/device_list.h"

namespace tandem {

Result<GpuProbes> GpuProbes::open(const std::vector<MachineDevice>& devices) {
  GpuProbes opened;
  for (const MachineDevice& device : devices) {
    if (device.kind != MachineDeviceKind::kGpu) continue;
    TANDEM_TRY(const auto specs, parse_device_list(device.id));
    TANDEM_TRY(opened.probes_[device.id], create_gpu_probe(device.id, specs.front().gpu_index));
  }
  return opened;
}

bool GpuProbes::has_any(const std::vector<std::string>& ids) const {
  return !probes_of(ids).empty();
}

std::vector<GpuProbe*> GpuProbes::probes_of(const std::vector<std::string>& ids) const {
  std::vector<GpuProbe*> probes;
  for (const std::string& id : ids) {
    if (const auto found = probes_.find(id); found != probes_.end()) {
      probes.push_back(found->second.get());
    }
  }
  return probes;
}

Result<double> GpuProbes::together(const std::vector<GpuProbe*>& probes, const Loop& loop) {
  std::vector<Result<double>> rates(probes.size(), Result<double>(0.0));
  std::barrier start(static_cast<std::ptrdiff_t>(probes.size()));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      rates[i] = loop(*probes[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  double sum = 0;
  for (const Result<double>& rate : rates) {
    TANDEM_TRY(const double one, rate);
    sum += one;
  }
  return sum;
}

Result<std::vector<double>> GpuProbes::look(const std::vector<std::string>& ids, double seconds) {
  const std::vector<GpuProbe*> probes = probes_of(ids);
  std::vector<double> gbps;
  if (probes.empty()) return gbps;
  for (int pattern = 0; pattern < probes.front()->num_read_patterns(); ++pattern) {
    TANDEM_TRY(const double rate, together(probes, [&](GpuProbe& probe) {
                 return probe.read_gbps(pattern, seconds);
               }));
    gbps.push_back(rate);
  }
  return gbps;
}

Result<Ceilings> GpuProbes::measure_round(const std::vector<std::string>& ids, double seconds) {
  const std::vector<GpuProbe*> probes = probes_of(ids);
  TANDEM_TRY(const std::vector<double> reading, look(ids, seconds));
  const auto best = std::max_element(reading.begin(), reading.end());
  Ceilings round;
  round.read_gbps = *best;
  round.read_pattern =
      probes.front()->read_pattern(static_cast<int>(std::distance(reading.begin(), best)));
  const auto products = [&](ProductKind kind) {
    return together(probes, [&](GpuProbe& probe) { return probe.product_gops(kind, seconds); });
  };
  TANDEM_TRY(round.int8_gops, products(ProductKind::kInt8));
  TANDEM_TRY(round.bf16_gflops, products(ProductKind::kBf16));
  TANDEM_TRY(round.float_gflops, products(ProductKind::kFloat));
  return round;
}

Result<Ceilings> GpuProbes::measure(const std::vector<std::string>& ids,
                                    const CeilingOptions& options) {
  return best_of_rounds(options, [&] { return measure_round(ids, options.seconds_each); });
}

}  // namespace tandem
