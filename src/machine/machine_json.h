#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "machine/machine.h"

namespace tandem {

// The machine of the command-line contract:
// {"devices":[{"id","kind","name","memory_bytes","bandwidth_gbps","pcie":{...},"numa_node",
// "power_limit_w"}],"links":[...],"host":{"cpu","cores","memory_bytes","numa_nodes"}}; what is not
// known is null. Further fields follow the fixed ones.
nlohmann::json machine_to_json(const Machine& machine);
nlohmann::json device_to_json(const MachineDevice& device);
nlohmann::json link_to_json(const Link& link);

// The inverse, for machines that people write or other runs wrote. Absent fields are unknown;
// a field of the wrong type, a device without an id, an id given twice and a link to a device
// that is not there are errors that name the field.
Result<Machine> machine_from_json(const nlohmann::json& json);

}  // namespace tandem
