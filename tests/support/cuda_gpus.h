#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "runtime/gpu_groups.h"
#include "support/cpu_runtime.h"

namespace tandem::test {

// Where CUDA tests run: on the emulated GPU (emulated_gpus.cpp) or on the machine's
// (real_gpus.cpp).

// Is there a GPU, and (for several ranks) a way between ranks on GPUs?
bool can_run_cuda(bool several_ranks);
bool cuda_is_emulated();
// For steps that end: an emulation on a busy machine, or under a sanitizer, takes its time.
inline constexpr std::int64_t kPatienceUs = 600'000'000;
// Makes the device of rank `index`: GPUs are shared where there are fewer than ranks.
std::function<Result<std::unique_ptr<Device>>(int index)> cuda_device_maker(Arithmetic arithmetic);
// How groups of GPUs exchange among themselves. overlap_rows: more than 0, matrices are summed
// beside arithmetic in parts of so many rows.
GpuGroupMaker cuda_group_maker(std::int64_t overlap_rows = 0);
// How stages pass hidden states on where GPUs are among them. through_host: not by peer access.
GpuLinkMaker cuda_link_maker(bool through_host = false);
// The ways to split a model that are tried; `by_expert` only where a model has experts.
const std::vector<SplitChoice>& cuda_splits();
// The reference models, their splits, and how many of their prompts (shortest first), that the time
// allows.
std::vector<std::string> cuda_reference_names();
bool has_time_for(const std::string& model, const std::string& split);
// To run a split beside one device.
bool has_time_to_compare(const std::string& model, const std::string& split);
// The same for Arithmetic::kFloat, whose plain kernels are slow.
bool has_time_for_float(const std::string& split);
std::size_t cuda_num_prompts(Arithmetic arithmetic, const std::string& split);

}  // namespace tandem::test
