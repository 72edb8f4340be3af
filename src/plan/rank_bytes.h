#pragma once

#include <cstdint>
#include <string_view>

#include "model/gpu_bytes.h"
#include "plan/plan.h"

namespace tandem {

// Is it a GPU that a plan names so ("cuda:0#1")?
bool is_gpu(std::string_view device);

// Bytes that a rank takes of its device, as the runtime allocates them there.
std::int64_t weights_bytes_on(std::string_view device, const ModelSpec& spec,
                              const RankShard& shard);
std::int64_t kv_bytes_on(std::string_view device, const ModelSpec& spec, const RankShard& shard,
                         const KvPlan& kv);
// How large the steps of the plan's ranks are, at most.
StepLimits step_limits_of(const Plan& plan);

// Activations, and on a GPU what its ops and, in a group of several, its exchanges need.
std::int64_t compute_bytes_on(std::string_view device, const ModelSpec& spec,
                              const RankShard& shard, const StepLimits& limits,
                              std::size_t group_size);

}  // namespace tandem
