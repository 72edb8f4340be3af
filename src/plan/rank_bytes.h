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

// What a rank exchanges with others.
struct RankExchange {
  std::size_t group_size = 1;      // ranks of its stage
  bool receives_from_gpu = false;  // the stage before sends from a GPU
};

// Activations, and on a GPU what its ops need, in a group of several its exchanges, and behind
// another GPU's stage the slots of the link from there.
std::int64_t compute_bytes_on(std::string_view device, const ModelSpec& spec,
                              const RankShard& shard, const StepLimits& limits,
                              const RankExchange& exchange);

}  // namespace tandem
