#include "app/bench/ceiling_survey.h"

#include <algorithm>
#include <thread>

#include "app/bench/foreign_load.h"
#include "base/cores.h"
#include "device/cpu/ceilings.h"

namespace tandem {
namespace {

// Rounds of a measurement that scatters: a disturbance that passes is waited for.
constexpr int kMostCeilingRounds = 9;

Ceilings measure_cores(const std::vector<int>& cores, InstructionSet set,
                       const CeilingOptions& options) {
  Ceilings ceilings;
  // On a thread of its own, which the pool may bind.
  std::thread([&] {
    ThreadPool pool(cores);
    pool.bind_caller();
    ceilings = measure_cpu_ceilings(pool, set, options);
  }).join();
  return ceilings;
}

Result<DeviceSetCeilings> measure_set(const std::vector<std::string>& ids,
                                      const SurveyRequest& request, InstructionSet set) {
  CeilingOptions options = request.options;
  options.most_rounds = std::max(options.rounds, kMostCeilingRounds);
  const ForeignLoadWatch watch;
  DeviceSetCeilings ceilings;
  ceilings.devices = ids;
  if (const auto cores = cores_of(request.devices, ids); !cores.empty()) {
    ceilings.rates = measure_cores(cores, set, options);
    ceilings.is_disturbed = watch.so_far().is_disturbing();
  }
  if (request.gpus && request.gpus->has_any(ids)) {
    TANDEM_TRY(const Ceilings of_gpus, request.gpus->measure(ids, options));
    ceilings.rates.add(of_gpus);
  }
  ceilings.is_disturbed = ceilings.is_disturbed || ceilings.rates.spread > kCeilingScatter;
  return ceilings;
}

}  // namespace

const Ceilings* CeilingSurvey::find(const std::vector<std::string>& devices) const {
  for (const DeviceSetCeilings& set : sets) {
    if (set.devices == devices) return &set.rates;
  }
  return nullptr;
}

double CeilingSurvey::read_gbps(const std::vector<std::string>& devices) const {
  for (const DeviceSetCeilings& set : sets) {
    if (set.devices != devices) continue;
    return set.typical_read_gbps > 0 ? set.typical_read_gbps : set.rates.read_gbps;
  }
  return 0;
}

void CeilingSurvey::merge(const CeilingSurvey& other) {
  for (DeviceSetCeilings& set : sets) {
    for (const DeviceSetCeilings& again : other.sets) {
      if (again.devices != set.devices) continue;
      set.rates.raise(again.rates);
      set.is_disturbed = set.is_disturbed && again.is_disturbed;
    }
  }
  for (MeasuredLink& link : links) {
    for (const MeasuredLink& again : other.links) {
      if (again.a != link.a || again.b != link.b) continue;
      link.latency_us = std::min(link.latency_us, again.latency_us);
      link.all_reduce_us = std::min(link.all_reduce_us, again.all_reduce_us);
      link.bandwidth_gbps = std::max(link.bandwidth_gbps, again.bandwidth_gbps);
    }
  }
}

std::vector<int> cores_of(const std::vector<MachineDevice>& devices,
                          const std::vector<std::string>& ids) {
  std::vector<int> cores;
  for (const MachineDevice& device : devices) {
    if (std::find(ids.begin(), ids.end(), device.id) == ids.end()) continue;
    cores.insert(cores.end(), device.cores.begin(), device.cores.end());
  }
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
  return cores;
}

std::vector<std::vector<std::string>> sets_of(const SurveyRequest& request) {
  std::vector<std::vector<std::string>> sets;
  for (const MachineDevice& device : request.devices) sets.push_back({device.id});
  for (const auto& ids : request.sets) {
    if (std::find(sets.begin(), sets.end(), ids) == sets.end()) sets.push_back(ids);
  }
  return sets;
}

Result<CeilingSurvey> survey_ceilings(const SurveyRequest& request) {
  TANDEM_TRY(const InstructionSet set, instruction_set_from_name(request.instruction_set));
  allowed_cores();  // remembers the mask when first asked: not on a thread that is bound already
  CeilingSurvey survey;
  for (const auto& ids : sets_of(request)) {
    TANDEM_TRY(DeviceSetCeilings ceilings, measure_set(ids, request, set));
    // Together they reach at least what one of them does, whatever disturbed this measurement.
    for (const std::string& id : ids) {
      if (const Ceilings* one = survey.find({id})) ceilings.rates.raise(*one);
    }
    survey.sets.push_back(std::move(ceilings));
  }
  for (std::size_t a = 0; a < request.devices.size(); ++a) {
    for (std::size_t b = a + 1; b < request.devices.size(); ++b) {
      TANDEM_TRY(MeasuredLink link,
                 measure_link(request.devices[a], request.devices[b], request.hidden_size));
      survey.links.push_back(std::move(link));
    }
  }
  return survey;
}

}  // namespace tandem
