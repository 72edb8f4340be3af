#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tandem {

// A typical offer. Prices age quickly; `--price` overrides one.
struct GpuPrice {
  double usd = 0;
  std::string condition;  // "new" or "used"
  std::string date;       // "2026-05"
  std::string source;
};

// One GPU model of data/gpus.json. nullopt is not known.
struct GpuModel {
  std::string name;                        // "RTX 3090"
  std::vector<std::string> aliases;        // other names, the driver's among them
  std::vector<std::int64_t> memory_bytes;  // the sizes it was sold with
  std::optional<double> bandwidth_gbps;    // of its memory
  std::optional<double> tensor_tflops;     // dense, half precision, float32 accumulation
  std::optional<double> fp32_tflops;
  std::optional<double> power_w;
  std::optional<int> pcie_generation;
  std::optional<int> pcie_width;
  std::optional<double> nvlink_gbps;   // both directions, all links
  std::optional<int> slots;            // usual thickness
  std::optional<bool> peer_over_pcie;  // does the driver grant copies between cards
  std::string vendor;                  // "NVIDIA"
  std::string architecture;            // "ampere", "rdna3": the chip's generation
  std::optional<double> int8_tops;     // dense, of the matrix unit or dp4a
  std::optional<GpuPrice> price;
  std::string source;
};

// The built-in catalogue, with the entries of the user's own file (TANDEM_GPUS, or
// $XDG_CONFIG_HOME/tandem/gpus.json, default ~/.config) put before them. Read once; a user's file
// that cannot be read is reported in the log and left out.
const std::vector<GpuModel>& gpu_catalogue();

// The entry that a driver's or a person's name means: "NVIDIA GeForce RTX 3090", "rtx3090",
// "A100-SXM4-80GB". `memory_bytes` decides between models of one name. nullptr if none does.
const GpuModel* find_gpu_model(std::string_view name,
                               std::optional<std::int64_t> memory_bytes = std::nullopt);

// For tests and the user's file: entries of a text like data/gpus.json.
Result<std::vector<GpuModel>> parse_gpu_catalogue(std::string_view json, const std::string& where);

}  // namespace tandem
