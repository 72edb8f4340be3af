#include "device/cuda/experts.h"

#include "device/cuda/grid.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarpsPerBlock = 4;

// The best of the lanes: the larger value, of equal ones the lower index.
__device__ void warp_best(float& value, std::int32_t& index) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, step);
    const std::int32_t place = __shfl_xor_sync(kAllLanes, index, step);
    if (other > value || (other == value && place < index)) {
      value = other;
      index = place;
    }
  }
}

// One warp a token: softmax over all experts into scratch, then the best is taken top_k times.
__global__ void route_kernel(RouteArgs args, float* scratch) {
  const std::int64_t token = std::int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.y;
  if (token >= args.logits.rows) return;
  const auto count = static_cast<std::int32_t>(args.logits.columns);
  const int lane = static_cast<int>(threadIdx.x);
  const float* logits = row_of(args.logits, token);
  float* probabilities = scratch + token * count;

  float largest = -INFINITY;
  for (std::int32_t i = lane; i < count; i += kWarp) largest = fmaxf(largest, logits[i]);
  largest = warp_max(largest);
  float sum = 0.0f;
  for (std::int32_t i = lane; i < count; i += kWarp) {
    probabilities[i] = expf(logits[i] - largest);
    sum += probabilities[i];
  }
  const float inverse = 1.0f / warp_sum(sum);
  for (std::int32_t i = lane; i < count; i += kWarp) probabilities[i] *= inverse;

  float total = 0.0f;
  for (std::int32_t j = 0; j < args.top_k; ++j) {
    float best = -2.0f;
    std::int32_t place = count;
    for (std::int32_t i = lane; i < count; i += kWarp) {
      if (probabilities[i] > best) {
        best = probabilities[i];
        place = i;
      }
    }
    warp_best(best, place);
    if (place % kWarp == lane && place < count) {
      probabilities[place] = -1.0f;  // less than any: not chosen again
      args.expert_ids[token * args.top_k + j] = place;
      args.weights[token * args.top_k + j] = best;
    }
    total += best;
  }
  __syncwarp();  // the weights are written by the lanes that own them
  const float factor = args.weight_scale * (args.normalise ? 1.0f / total : 1.0f);
  for (std::int32_t j = lane; j < args.top_k; j += kWarp) {
    args.weights[token * args.top_k + j] *= factor;
  }
}

__global__ void combine_kernel(MatrixView y, const float* weights, std::int32_t top_k,
                               MatrixView out) {
  const std::int64_t column = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (column >= out.columns) return;
  for (std::int64_t token = blockIdx.y; token < out.rows; token += gridDim.y) {
    float sum = 0.0f;
    for (std::int32_t j = 0; j < top_k; ++j) {
      sum += weights[token * top_k + j] * row_of(y, token * top_k + j)[column];
    }
    row_of(out, token)[column] = sum;
  }
}

}  // namespace

cudaError_t route_experts(cudaStream_t stream, const RouteArgs& args, float* scratch) {
  if (args.logits.rows == 0 || args.top_k == 0) return cudaSuccess;
  const auto blocks =
      static_cast<unsigned>((args.logits.rows + kWarpsPerBlock - 1) / kWarpsPerBlock);
  return launch(stream, route_kernel, {dim3(blocks), dim3(kWarp, kWarpsPerBlock), 0}, args,
                scratch);
}

cudaError_t combine_experts(cudaStream_t stream, MatrixView y, const float* weights,
                            std::int32_t top_k, MatrixView out) {
  if (out.rows == 0 || out.columns == 0) return cudaSuccess;
  return launch(stream, combine_kernel, shape_over(out.rows, out.columns, kThreads), y, weights,
                top_k, out);
}

}  // namespace tandem::cuda
