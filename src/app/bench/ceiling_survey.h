#pragma once

#include <string>
#include <vector>

#include "app/bench/gpu_probes.h"
#include "app/bench/link_survey.h"
#include "base/result.h"
#include "device/ceilings.h"
#include "machine/machine.h"

namespace tandem {

// What one device, or several of them at once, can do at most.
struct DeviceSetCeilings {
  std::vector<std::string> devices;  // ids, in the order of the command line
  Ceilings rates;
  // Something else used the cores or the memory: the rates may be too low, and devices seem to
  // share a ceiling that they do not.
  bool is_disturbed = false;
  // What they read of memory in the midst of the measurements (memory_watch.h); 0: nobody looked.
  double typical_read_gbps = 0;
};

struct CeilingSurvey {
  std::vector<DeviceSetCeilings> sets;
  std::vector<MeasuredLink> links;

  // Null for a set that was not measured.
  const Ceilings* find(const std::vector<std::string>& devices) const;
  // 1e9 bytes a second: typical ones where somebody looked, else the ceiling. 0 for an unknown set.
  double read_gbps(const std::vector<std::string>& devices) const;
  // The larger of both surveys' rates and the smaller of their latencies: a ceiling that was
  // measured while others used the machine is none.
  void merge(const CeilingSurvey& other);
};

struct SurveyRequest {
  std::vector<MachineDevice> devices;
  std::vector<std::vector<std::string>> sets;  // besides each device alone
  std::string instruction_set = "auto";
  std::int64_t hidden_size = 0;  // of the all-reduced message, in floats
  CeilingOptions options;
  std::shared_ptr<GpuProbes> gpus;  // of those among the devices; null where there is none
};

// The sets of a request, each once: every device alone, then request.sets.
std::vector<std::vector<std::string>> sets_of(const SurveyRequest& request);
// The cores of the devices with these ids, ascending; none for GPUs.
std::vector<int> cores_of(const std::vector<MachineDevice>& devices,
                          const std::vector<std::string>& ids);

// Blocks for about a second a set, up to three where the rounds scatter. Cores and GPUs of one set
// are measured one after the other and added: they have no memory in common. Errors: an instruction
// set that this processor lacks, GPUs that fail.
Result<CeilingSurvey> survey_ceilings(const SurveyRequest& request);

}  // namespace tandem
