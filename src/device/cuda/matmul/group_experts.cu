#include "base/check.h"
#include "base/checked.h"
#include "device/cuda/matmul/group_experts.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 1024;

// An inclusive sum over the block's threads. `shared`: kThreads numbers.
__device__ std::int32_t inclusive_sum(std::int32_t value, std::int32_t* shared) {
  const unsigned i = threadIdx.x;
  shared[i] = value;
  __syncthreads();
  for (unsigned step = 1; step < kThreads; step *= 2) {
    const std::int32_t before = i >= step ? shared[i - step] : 0;
    __syncthreads();
    shared[i] += before;
    __syncthreads();
  }
  const std::int32_t sum = shared[i];
  __syncthreads();
  return sum;
}

// One block; thread e is expert e, and thread num_experts those elsewhere.
__global__ void __launch_bounds__(kThreads)
    sort_pairs(const std::int32_t* expert_ids, std::int32_t num_pairs, std::int32_t first_expert,
               std::int32_t num_experts, std::int32_t width, ExpertGroups groups) {
  TANDEM_DYNAMIC_SHARED(std::int32_t, shared);
  std::int32_t* counts = shared;
  std::int32_t* cursors = shared + kThreads;
  std::int32_t* scratch = shared + 2 * kThreads;
  const auto own = static_cast<std::int32_t>(threadIdx.x);
  const auto bucket_of = [&](std::int32_t pair) {
    const std::int32_t expert = expert_ids[pair] - first_expert;
    return expert >= 0 && expert < num_experts ? expert : num_experts;
  };
  counts[own] = 0;
  __syncthreads();
  for (std::int32_t pair = own; pair < num_pairs; pair += kThreads) {
    atomicAdd(&counts[bucket_of(pair)], 1);
  }
  __syncthreads();
  const std::int32_t count = counts[own];
  const std::int32_t begin = inclusive_sum(count, scratch) - count;
  const std::int32_t tiles = (count + width - 1) / width;
  const std::int32_t tiles_end = inclusive_sum(tiles, scratch);
  cursors[own] = begin;
  if (own == static_cast<std::int32_t>(kThreads) - 1) *groups.num_tiles = tiles_end;
  for (std::int32_t i = 0; i < tiles; ++i) {
    ExpertTile tile;
    tile.expert = own < num_experts ? own : -1;
    tile.begin = begin + i * width;
    tile.count = min(width, count - i * width);
    groups.tiles[tiles_end - tiles + i] = tile;
  }
  __syncthreads();
  for (std::int32_t pair = own; pair < num_pairs; pair += kThreads) {
    groups.order[atomicAdd(&cursors[bucket_of(pair)], 1)] = pair;
  }
}

}  // namespace

std::int64_t expert_groups_bytes(std::int32_t num_pairs, std::int32_t max_tiles) {
  return static_cast<std::int64_t>(sizeof(ExpertTile)) * max_tiles + 4 + 4ll * num_pairs;
}

ExpertGroups expert_groups_at(std::int32_t num_pairs, std::int32_t max_tiles, void* memory) {
  (void)num_pairs;
  ExpertGroups groups;
  groups.tiles = static_cast<ExpertTile*>(memory);
  groups.num_tiles = reinterpret_cast<std::int32_t*>(groups.tiles + max_tiles);
  groups.order = groups.num_tiles + 1;
  return groups;
}

cudaError_t group_experts(cudaStream_t stream, const std::int32_t* expert_ids,
                          std::int32_t num_pairs, std::int32_t first_expert,
                          std::int32_t num_experts, std::int32_t width,
                          const ExpertGroups& groups) {
  TANDEM_CHECK(num_experts <= kMaxExperts, "a thread an expert");
  return launch(stream, sort_pairs, LaunchShape{dim3(1), dim3(kThreads), 3 * kThreads * 4},
                expert_ids, num_pairs, first_expert, num_experts, width, groups);
}

}  // namespace tandem::cuda
