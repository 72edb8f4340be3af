#pragma once

#include <string>

#include "machine/machine.h"
#include "plan/engine_profile.h"

namespace tandem {

// What a device could do at best, as an engine would use it.
struct DeviceRates {
  double bandwidth_bytes = 0;  // per second, printed or measured
  double scalar_ops = 0;       // single precision, per second
  double matrix_ops = 0;       // matrix units, at the engine's accumulation, per second; CPU: int8
  double bf16_ops = 0;         // CPU: of bfloat16 products, per second; 0: none
  double power_w = 0;          // the limit it runs under
  double default_power_w = 0;
  double idle_w = 0;
  double energy_pj = 0;  // of a matrix operation; 0: power does not bound
  // Bytes a second that it could read while others read from the same memory; 0: none do.
  double shared_bytes = 0;
  bool is_cpu = false;
  bool assumed = false;  // bandwidth or rates are not known and were assumed
  const BackendProfile* backend = nullptr;
};

// From the machine's own figures where it has them, else the GPU catalogue, else (CPU) from the
// number of cores. kNotFound for a GPU of which neither knows the bandwidth: the message names the
// nearest models.
Result<DeviceRates> rates_of(const MachineDevice& device, const EngineProfile& engine);

// Catalogued GPU names most like `name`, the best first, for messages: "RTX 3090, RTX 3090 Ti".
std::string nearest_gpu_names(std::string_view name, int count = 3);

// `names` most like `name` by edit distance, best first, comma separated.
std::string nearest_names(std::string_view name, const std::vector<std::string>& names, int count);

}  // namespace tandem
