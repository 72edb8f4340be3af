#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "machine/machine.h"

namespace tandem {

// One entry of --devices.
struct DeviceSpec {
  enum class Kind {
    kAuto,  // every GPU; with none, one CPU device per NUMA node
    kCpu,   // `cores`; empty means all cores
    kCuda,  // `gpu_index`
  };
  Kind kind = Kind::kAuto;
  std::vector<int> cores;
  int gpu_index = 0;
  std::optional<int> part;  // #k: one of several ranks that share this GPU or these cores

  // As it would be written: "cuda:0#1", "cpu:0-3+8-11", "cpu", "auto".
  std::string id() const;
  bool operator==(const DeviceSpec&) const = default;
};

// The GPU, or the set of cores, of which a device is a part: "cuda:0" of "cuda:0#1"; others are
// whole.
std::string whole_device_id(std::string_view id);

// Reads --devices (docs: CLI). Errors: empty entries, unknown kinds, a core in two devices or a
// GPU named twice unless every such entry bears its own #part, `auto` beside others.
Result<std::vector<DeviceSpec>> parse_device_list(std::string_view text);

// The devices of `machine` that `specs` ask for, in that order, with ids as written. Parts of one
// GPU get equal shares of its memory; CPU devices share the host's by their number of cores.
// Errors name what the machine has instead.
Result<std::vector<MachineDevice>> select_devices(const std::vector<DeviceSpec>& specs,
                                                  const Machine& machine);

}  // namespace tandem
