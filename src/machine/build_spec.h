#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tandem {

struct BuildGpu {
  std::string name;
  int count = 1;
  std::optional<double> power_limit_w;  // a limit the owner means to set
  std::optional<int> slots;             // thickness; from the catalogue where absent
  std::optional<bool> liquid_cooled;
};

struct BuildSlot {
  int width = 16;  // electrical lanes
  int generation = 4;
  bool from_chipset = false;
  std::optional<int> position;  // the case's expansion slot it lies at, 1 next to the CPU
};

struct BuildPsu {
  std::optional<double> watts;
  std::string standard;  // "ATX 3.0", "ATX 3.1", "ATX 2.x"; empty: unknown
  std::optional<int> count;
};

struct BuildCase {
  std::optional<int> slots;  // expansion slots at the back
  std::optional<int> fans;
  std::optional<bool> open_frame;
};

struct BuildCircuit {
  std::optional<double> volts;
  std::optional<double> amperes;
};

// A machine that is still to be bought, or what cannot be read from one that runs (supply, case).
struct BuildSpec {
  std::optional<std::string> cpu;
  std::optional<std::string> board;
  std::vector<BuildGpu> gpus;
  std::vector<BuildSlot> slots;
  BuildPsu psu;
  BuildCase chassis;
  BuildCircuit circuit;
  std::optional<double> memory_gib;
  std::optional<double> rest_w;  // board, memory, drives, fans

  int num_gpus() const;
};

// Reads the TOML of docs/doctor.md. Unknown keys are errors, so that a typing mistake shows.
Result<BuildSpec> parse_build(std::string_view toml, const std::string& where);

}  // namespace tandem
