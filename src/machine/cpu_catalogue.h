#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tandem {

// A family of CPUs in data/cpus.json.
struct CpuFamily {
  std::vector<std::string> patterns;  // "*Ryzen ? 5???*"
  std::string family;
  int lanes = 0;              // for slots and drives, without the link to the chipset
  int lanes_two_sockets = 0;  // of a two-socket board; 0: not made for two
  int graphics_lanes = 0;     // wired to the long slots
  int generation = 0;
  int channels = 0;    // of memory
  double power_w = 0;  // sustained, of the larger models
  std::string source;
};

// The built-in families, after those of the user's own file (TANDEM_CPUS or
// ~/.config/tandem/cpus.json).
const std::vector<CpuFamily>& cpu_catalogue();

// By the model name of /proc/cpuinfo or a person's short form of it; nullptr if none matches.
const CpuFamily* find_cpu_family(std::string_view model);

Result<std::vector<CpuFamily>> parse_cpu_catalogue(std::string_view json, const std::string& where);

// Does `text` match, '*' for any text and '?' for one character, letters of either case?
bool matches_pattern(std::string_view text, std::string_view pattern);

}  // namespace tandem
