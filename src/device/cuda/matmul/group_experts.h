#pragma once

#include <cstdint>

#include "device/cuda/matmul/product_batch.h"

namespace tandem::cuda {

// The (token, choice) pairs of a batch sorted by expert and cut into tiles of one expert each, on
// the device: the host never learns who was chosen.
struct ExpertGroups {
  ExpertTile* tiles = nullptr;        // [max_tiles]
  std::int32_t* num_tiles = nullptr;  // [1]
  std::int32_t* order = nullptr;      // [num_pairs]
};
inline constexpr std::int32_t kMaxExperts = 1023;

// As many tiles as there can be: full ones, and one for each expert (and for those elsewhere).
constexpr std::int32_t max_expert_tiles(std::int32_t num_pairs, std::int32_t num_experts,
                                        std::int32_t width) {
  const std::int32_t rests = num_experts + 1 < num_pairs ? num_experts + 1 : num_pairs;
  return num_pairs / width + rests;
}
std::int64_t expert_groups_bytes(std::int32_t num_pairs, std::int32_t max_tiles);
ExpertGroups expert_groups_at(std::int32_t num_pairs, std::int32_t max_tiles, void* memory);

// Stream-ordered. expert_ids: [num_pairs] in device memory; pairs whose expert is not in
// [first_expert, first_expert + num_experts) make tiles of expert -1. The order of an expert's
// pairs is not fixed, and no result depends on it. num_experts <= kMaxExperts.
cudaError_t group_experts(cudaStream_t stream, const std::int32_t* expert_ids,
                          std::int32_t num_pairs, std::int32_t first_expert,
                          std::int32_t num_experts, std::int32_t width, const ExpertGroups& groups);

}  // namespace tandem::cuda
