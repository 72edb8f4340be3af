#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "machine/machine.h"
#include "model/model_spec.h"
#include "plan/plan.h"

namespace tandem {

// What the command line asked for; what it left open, the planner decides.
struct PlanRequest {
  std::optional<SplitMode> split;              // --split; nullopt: auto
  std::optional<std::int32_t> group_size;      // --tp: devices that share a stage
  std::optional<std::int32_t> num_stages;      // --pp
  std::vector<double> shares;                  // -ts: one a device; empty: by speed
  std::int32_t main_device = 0;                // -mg: the one that split `none` uses
  std::optional<std::int64_t> context_tokens;  // -c, of one sequence; nullopt: 4096 or the model's;
                                               // 0: the model's
  std::int32_t max_sequences = 1;              // -np
  std::int32_t max_batch_tokens = 512;         // -ub
  std::int32_t max_output_rows = 0;            // of logits in one step; 0: max_sequences
  ElementType kv_type = ElementType::kF16;
  bool split_by_expert = false;

  bool operator==(const PlanRequest&) const = default;
};

// Context of one sequence where none is asked for.
inline constexpr std::int64_t kDefaultContextTokens = 4096;

// How fast the devices are beside each other: measured or catalogued memory bandwidth where it is
// known of all, else CPU devices by their cores and all others as equals. One entry a device.
std::vector<double> relative_speeds(const std::vector<MachineDevice>& devices);

// What a plan may use of a device: its memory less what driver, context and fragmentation take
// (GPU: 512 MiB). 0 where the memory is not known.
std::int64_t usable_bytes(const MachineDevice& device);

struct LayoutRequest;

// Sets what stages pass on at once, and whether each holds a part of the output matrix, to what
// suits machines of CPU devices alone, or those with GPUs.
void tune_micro_batches(const std::vector<MachineDevice>& devices, LayoutRequest& layout);

// The plan that `run` and `serve` execute on `devices` (ids as the user wrote them, in that order).
// Explicit requests are obeyed exactly or refused (kInvalidArgument); what is left open is decided
// for the lowest latency. kDoesNotFit says by how much and what would make it fit.
Result<Plan> choose_plan(const ModelSpec& spec, const std::vector<MachineDevice>& devices,
                         const PlanRequest& request);

}  // namespace tandem
