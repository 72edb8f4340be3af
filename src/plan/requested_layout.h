#pragma once

#include <vector>

#include "plan/auto_plan.h"
#include "plan/layout.h"

namespace tandem {

// A device of a machine as a layout sees it. speed: beside the other devices of the layout.
LayoutDevice layout_device(const MachineDevice& device, double speed);

// What the request asks for on `devices`, before the arithmetic. Errors: requests that contradict
// themselves or the devices.
Result<LayoutRequest> requested_layout(const ModelSpec& spec,
                                       const std::vector<MachineDevice>& devices,
                                       const PlanRequest& request);

}  // namespace tandem
