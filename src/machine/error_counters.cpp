#include "machine/error_counters.h"

#include <algorithm>

namespace tandem {

bool ErrorCounters::any() const {
  return std::any_of(counts.begin(), counts.end(),
                     [](const auto& item) { return item.second > 0; });
}

ErrorCounters error_counters_of(const Survey& survey) {
  ErrorCounters counters;
  counters.when = std::chrono::steady_clock::now();
  const auto add = [&](const PciAddress& address, const char* name,
                       const std::optional<std::int64_t>& count) {
    if (count) counters.counts[{address, name}] = *count;
  };
  for (const auto& [address, device] : survey.pci) {
    add(address, "correctable", device.aer.correctable);
    add(address, "nonfatal", device.aer.nonfatal);
    add(address, "fatal", device.aer.fatal);
  }
  for (const GpuFacts& gpu : survey.gpus)
    if (gpu.address) add(*gpu.address, "replays", gpu.replays);
  return counters;
}

void add_error_rates(const ErrorCounters& before, const ErrorCounters& after, Survey& survey) {
  const std::chrono::duration<double> seconds = after.when - before.when;
  for (const auto& [key, count] : before.counts) {
    const auto again = after.counts.find(key);
    if (again == after.counts.end()) continue;
    const PciDevice* device = survey.find_pci(key.first);
    survey.rates.push_back({key.first, device == nullptr ? "" : device->name, key.second, count,
                            again->second, seconds.count()});
  }
}

}  // namespace tandem
