#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/runtime.h"

namespace tandem {

// Makes the seats of a group whose ranks are all on GPUs, which then exchange among themselves.
// kUnsupported: not this group; it goes through host memory.
using GpuGroupMaker = std::function<Result<std::vector<std::unique_ptr<Communicator>>>(
    std::span<Device* const> devices, const LocalGroupOptions& options)>;

// Makes the link from a stage's first rank to all ranks of the next stage, some of which are on
// GPUs; all of them use it as it is. kUnsupported: not this link; it goes through host memory.
using GpuLinkMaker = std::function<Result<std::shared_ptr<StageLink>>(
    Device& sender, std::span<Device* const> receivers, const LocalLinkOptions& options)>;

// Runtime::create() with groups of GPUs made by `make_gpu_group`, and links at whose ends GPUs are
// by `make_gpu_link`. Where these are null, as in Runtime::create(), they exchange through host
// memory and the host waits in every layer, and at every link.
Result<std::unique_ptr<Runtime>> create_runtime(Plan plan, const ModelSpec& spec,
                                                std::shared_ptr<const GgufFile> file,
                                                std::vector<std::unique_ptr<Device>> devices,
                                                const RuntimeOptions& options,
                                                GpuGroupMaker make_gpu_group,
                                                GpuLinkMaker make_gpu_link = {});

}  // namespace tandem
