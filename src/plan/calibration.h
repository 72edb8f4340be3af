#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "machine/machine.h"
#include "plan/engine_profile.h"

namespace tandem {

// What `tandem bench --calibrate` found out about one computer: its devices with the rates that
// were measured, and the constants of the engine on them.
struct Calibration {
  std::string path;
  Machine machine;
  EngineProfile engine;
};

// Of a text {"machine", "engines": [profile]}; kMalformed names the member.
Result<Calibration> parse_calibration(std::string_view json, const std::string& path);

// The file that TANDEM_CALIBRATION names, else ~/.config/tandem/calibration.json. nullopt where
// there is none; a file that cannot be read as such is said so (warning) and left out.
std::optional<Calibration> user_calibration();

// Where `bench --calibrate` without a file writes: the path that user_calibration() reads.
std::string calibration_path();

// Gives the CPU devices of `machine` the rates of `measured`: those of a device with as many cores,
// else in proportion to the cores, reading at most what all cores together read; GPUs those of a
// card of the same name; and pairs of devices the links. False, and nothing done, where `measured`
// is of another processor or knows no rates of these devices.
bool apply_measured_rates(const Machine& measured, Machine& machine);

// The same for GPUs and what lies between them alone.
bool apply_measured_gpu_rates(const Machine& measured, Machine& machine);

}  // namespace tandem
