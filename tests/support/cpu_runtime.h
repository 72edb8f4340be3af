#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "device/device.h"
#include "plan/layout.h"
#include "runtime/gpu_groups.h"
#include "runtime/runtime.h"
#include "support/reference_model.h"

namespace tandem::test {

// How to lay a model over CPU devices of one thread each.
struct SplitChoice {
  std::string name;
  // Speeds of the ranks, stage by stage: {{1, 1}} is two-way tensor, {{1}, {1}} two stages.
  std::vector<std::vector<double>> stages = {{1.0}};
  bool by_expert = false;
};

// A model under a split: the parameter of tests that try many.
struct SplitCase {
  std::string model;
  SplitChoice split;
};
// GoogleTest prints parameters by this name.
inline void PrintTo(const SplitCase& one, std::ostream* out) {
  *out << one.model << ' ' << one.split.name;
}

struct RunChoice {
  Arithmetic arithmetic = Arithmetic::kInt8;
  std::string instruction_set = "auto";
  ElementType kv_type = ElementType::kF16;
  std::int32_t max_batch_tokens = 64;  // below the longest prompt: chunks are exercised
  std::int32_t micro_batch_tokens = 24;
  std::int64_t deadline_us = 30'000'000;
  GpuGroupMaker make_gpu_group;  // of groups of GPUs; null: through host memory
  GpuLinkMaker make_gpu_link;    // of links at whose ends GPUs are; the same
  // Puts something between a rank (numbered over all stages) and its device; empty: nothing.
  std::function<std::unique_ptr<Device>(int, std::unique_ptr<Device>)> wrap_device;
};

// Makes the device of a rank, numbered over all stages.
using DeviceMaker = std::function<Result<std::unique_ptr<Device>>(int)>;

// As start_on_cpu(), on other devices.
Result<std::unique_ptr<Runtime>> start_on(const ReferenceModel& model, const SplitChoice& split,
                                          const RunChoice& run, const DeviceMaker& make_device);

// Ranks are threads that share the machine's cores, not pinned. Room for 256 tokens of each of four
// sequences.
Result<std::unique_ptr<Runtime>> start_on_cpu(const ReferenceModel& model, const SplitChoice& split,
                                              const RunChoice& run);

// The logits of `positions` (ascending), row after row.
Result<std::vector<float>> logits_of(ModelRunner& runner, const std::vector<std::int32_t>& tokens,
                                     const std::vector<std::int32_t>& positions);

// Feeds `prompt`, then the likeliest token `count` times, one at a time through the KV cache.
struct Greedy {
  std::vector<std::int32_t> tokens;
  std::vector<float> logits;  // of every chosen token's step, row after row
};
Result<Greedy> generate_greedily(ModelRunner& runner, const std::vector<std::int32_t>& prompt,
                                 std::int32_t count);

}  // namespace tandem::test
