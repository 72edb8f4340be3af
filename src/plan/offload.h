#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "plan/auto_plan.h"
#include "plan/engine_profile.h"

namespace tandem {

// How GPUs share a model, and which layers they get where a processor stands beside them.
struct OffloadRequest {
  // -ngl: the last so many layers are on GPUs; more than there are: all. nullopt: as many as fit.
  std::optional<std::int32_t> gpu_layers;
  // The user named the devices: all GPUs are used, and the processor only for layers that they do
  // not hold, where it is among the devices or gpu_layers leaves layers to it.
  bool devices_are_named = false;
  std::vector<Link> links = {};  // between devices, as far as known
  // What Tandem reaches on this computer, where it was measured; null: its usual constants.
  // Borrowed.
  const EngineProfile* engine = nullptr;
};

// Where the request leaves the split open, the division over the GPUs of `devices` that is
// predicted to be the fastest, with fewer of them if that is faster and they were not named; else
// choose_plan() on them. Layers that these have no room for, or are not to hold, are a first
// pipeline stage on the one device of cores among `devices`, else on `processor`. The
// output matrix, which every token passes, stays on GPUs. Without GPUs it is choose_plan() on
// `devices`, and so it is where devices of both kinds are named without gpu_layers but with a
// split, a group size or a number of stages; with shares alone they are stages of these shares.
// With gpu_layers shares are the GPUs'. Errors: those of choose_plan(); kDoesNotFit says what is
// missing with as many layers as were asked for; kInvalidArgument where several devices of cores
// could take the others.
Result<Plan> choose_placed_plan(const ModelSpec& spec, const std::vector<MachineDevice>& devices,
                                const MachineDevice& processor, const PlanRequest& request,
                                const OffloadRequest& offload);

// The layers of `plan` on devices of `kind`; devices that `devices` does not list are of another.
std::int32_t num_layers_on(const Plan& plan, const std::vector<MachineDevice>& devices,
                           MachineDeviceKind kind);

}  // namespace tandem
