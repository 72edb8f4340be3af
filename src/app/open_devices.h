#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/model_options.h"
#include "base/result.h"
#include "device/device.h"
#include "model/model_spec.h"
#include "plan/plan.h"
#include "runtime/gpu_groups.h"

namespace tandem {

// The devices of a plan's ranks, stage by stage: "cuda:0", "cpu:0-3".
std::vector<std::string> device_ids_of(const Plan& plan);

// The plan's devices on this machine, one a rank, in the order of device_ids_of(). Blocks while
// GPUs start. Errors: devices that the machine does not have, those of create_cpu_device() and
// create_cuda_device().
Result<std::vector<std::unique_ptr<Device>>> open_devices(const ModelSpec& spec, const Plan& plan,
                                                          const ModelOptions& options);

// How GPUs of one stage exchange, and stages with GPUs pass on. Where they do so by way of the
// host, the user hears why.
GpuGroupMaker gpu_group_maker(const ModelOptions& options);
Result<std::shared_ptr<StageLink>> make_gpu_link(Device& sender, std::span<Device* const> receivers,
                                                 const LocalLinkOptions& options);

}  // namespace tandem
