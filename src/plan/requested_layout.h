#pragma once

#include <optional>
#include <vector>

#include "plan/auto_plan.h"
#include "plan/engine_profile.h"
#include "plan/layout.h"

namespace tandem {

// A device of a machine as a layout sees it. speed: beside the other devices of the layout.
LayoutDevice layout_device(const MachineDevice& device, double speed);

// What the request asks for on `devices`, before the arithmetic. Errors: requests that contradict
// themselves or the devices.
Result<LayoutRequest> requested_layout(const ModelSpec& spec,
                                       const std::vector<MachineDevice>& devices,
                                       const PlanRequest& request);

// Does the request leave the division over the devices to the planner?
bool leaves_split_open(const PlanRequest& request);

// What the search (search.h) predicts to be the fastest on the machine with Tandem as its engine,
// where the request leaves the split open. measured: what Tandem reaches there, instead of its
// usual constants. nullopt: the split is not open, nothing fits, or too little is known of the
// devices.
std::optional<Plan> searched_plan(const ModelSpec& spec, const Machine& machine,
                                  const PlanRequest& request, bool use_all_devices,
                                  const EngineProfile* measured = nullptr);

}  // namespace tandem
