#include "device/cuda/top_k.h"

#include <algorithm>

#include "device/cuda/cuda_error.h"
#include "device/cuda/grid.h"

namespace tandem::cuda {
namespace {

// A number's rank as one integer: the value first (as an unsigned integer of the same order), of
// equal values the lower index. What is not a number is least, as -infinity. Keys of one row are
// all different, and 0 is below every key.
__device__ std::uint64_t key_of(float value, std::int32_t index) {
  if (!(value == value)) value = -INFINITY;
  if (value == 0.0f) value = 0.0f;  // -0 is 0
  const std::uint32_t bits = __float_as_uint(value);
  const std::uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return (std::uint64_t{ordered} << 32) | (0xffffffffu - static_cast<std::uint32_t>(index));
}
__device__ float value_of(std::uint64_t key) {
  const auto ordered = static_cast<std::uint32_t>(key >> 32);
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}
__device__ std::int32_t index_of(std::uint64_t key) {
  return static_cast<std::int32_t>(0xffffffffu - static_cast<std::uint32_t>(key));
}

__device__ std::uint64_t warp_max_key(std::uint64_t key) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const auto other = __shfl_xor_sync(kAllLanes, static_cast<unsigned long long>(key), step);
    key = other > key ? other : key;
  }
  return key;
}

constexpr int kThreads = 256;

// The largest key of a block's threads; every thread gets it.
__device__ std::uint64_t block_max_key(std::uint64_t key) {
  __shared__ std::uint64_t largest[kThreads / kWarp];
  key = warp_max_key(key);
  if (threadIdx.x % kWarp == 0) largest[threadIdx.x / kWarp] = key;
  __syncthreads();
  key = largest[0];
  for (int i = 1; i < kThreads / kWarp; ++i) key = largest[i] > key ? largest[i] : key;
  __syncthreads();  // the next call writes where this one reads
  return key;
}

// Takes the k largest of keys(i), i in [0, count), one after another: each is the largest key below
// the one before. A thread keeps the largest of its own and looks again only when it was taken.
template <typename Keys, typename Emit>
__device__ void select(std::int64_t count, std::int32_t k, Keys keys, Emit emit) {
  const auto largest_below = [&](std::uint64_t limit) {
    std::uint64_t best = 0;
    for (std::int64_t i = threadIdx.x; i < count; i += kThreads) {
      const std::uint64_t key = keys(i);
      if (key < limit && key > best) best = key;
    }
    return best;
  };
  std::uint64_t mine = largest_below(~std::uint64_t{0});
  for (std::int32_t j = 0; j < k; ++j) {
    const std::uint64_t best = block_max_key(mine);
    if (threadIdx.x == 0) emit(j, best);
    if (mine == best && best != 0) mine = largest_below(best);
  }
}

// Grid: parts of a row, rows. Every part gives its k largest keys (0 where it has fewer).
__global__ void part_kernel(MatrixView x, std::int64_t part_columns, std::int32_t k,
                            std::uint64_t* keys) {
  const std::int64_t first = std::int64_t{blockIdx.x} * part_columns;
  const std::int64_t count = min(part_columns, x.columns - first);
  for (std::int64_t row = blockIdx.y; row < x.rows; row += gridDim.y) {
    const float* values = row_of(x, row) + first;
    std::uint64_t* out = keys + (row * gridDim.x + blockIdx.x) * k;
    select(
        count, k,
        [&](std::int64_t i) { return key_of(values[i], static_cast<std::int32_t>(first + i)); },
        [&](std::int32_t j, std::uint64_t key) { out[j] = key; });
  }
}

// Grid: rows. Merges the parts of each row.
__global__ void merge_kernel(const std::uint64_t* keys, std::int64_t keys_of_row, std::int32_t k,
                             float* values, std::int32_t* indices) {
  const std::int64_t row = blockIdx.x;
  const std::uint64_t* mine = keys + row * keys_of_row;
  select(
      keys_of_row, k, [&](std::int64_t i) { return mine[i]; },
      [&](std::int32_t j, std::uint64_t key) {
        values[row * k + j] = value_of(key);
        indices[row * k + j] = index_of(key);
      });
}

}  // namespace

Status top_k(CudaContext& context, MatrixView x, std::int32_t k, float* values,
             std::int32_t* indices) {
  if (x.rows == 0 || k == 0) return {};
  // Enough parts to fill the GPU with one row, but none so short that merging is the work.
  const std::int64_t least_columns = std::max<std::int64_t>(4096, std::int64_t{4} * k);
  const std::int64_t most_parts = (x.columns + least_columns - 1) / least_columns;
  const std::int64_t parts =
      std::min<std::int64_t>(most_parts, std::max(1, context.gpu.num_multiprocessors));
  const std::int64_t part_columns = (x.columns + parts - 1) / parts;
  TANDEM_TRY(auto* keys, context.scratch.take_array<std::uint64_t>(x.rows * parts * k));
  const dim3 grid(static_cast<unsigned>(parts),
                  static_cast<unsigned>(std::min(x.rows, kMaxGridRows)));
  TANDEM_CUDA_TRY(
      launch(context.stream, part_kernel, {grid, dim3(kThreads), 0}, x, part_columns, k, keys),
      "cannot start top-k");
  return status_of(
      launch(context.stream, merge_kernel, {dim3(static_cast<unsigned>(x.rows)), dim3(kThreads), 0},
             keys, parts * k, k, values, indices),
      "cannot start top-k");
}

}  // namespace tandem::cuda
