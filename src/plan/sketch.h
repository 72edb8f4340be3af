#pragma once

#include <optional>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "plan/device_rates.h"
#include "plan/engine_profile.h"
#include "plan/links.h"
#include "plan/model_costs.h"
#include "plan/plan.h"

namespace tandem {

// Devices, how they are joined, and who runs on them: what the time model knows of a machine.
struct Bench {
  std::vector<DeviceRates> devices;
  std::vector<std::string> ids;
  std::vector<std::vector<Wire>> wires;  // [device][device]
  const EngineProfile* engine = nullptr;
  double host_bandwidth_bytes = 0;  // that all CPU devices together read a second; 0: their sum
};
Result<Bench> bench_of(const Machine& machine, const EngineProfile& engine);

// One stage of a division, before anything is rounded to heads and blocks.
struct StageSketch {
  std::int32_t first_layer = 0;
  std::int32_t num_layers = 0;
  std::vector<std::size_t> devices;         // indices into Bench::devices
  std::vector<double> shares;               // of the stage's work; sum 1 but for work done twice
  std::vector<double> expert_shares = {};   // of the experts' work; empty: as `shares`
  std::optional<double> output_share = {};  // of the output matrix; nullopt: the last stage has it
  bool by_expert = false;  // whole experts: which ones a token picks loads the devices unevenly
};
using Sketch = std::vector<StageSketch>;

// The sketch that a plan amounts to, with the shares that its whole heads, blocks and experts come
// to; kNotFound for a device that the bench lacks.
Result<Sketch> sketch_of(const Plan& plan, const Bench& bench, const ModelCosts& model);

}  // namespace tandem
