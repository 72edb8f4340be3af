#include "device/cuda/rope.h"

#include "device/cuda/grid.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 128;

// The angle of a far position is large: its whole turns are taken off in float64, so that its sine
// is as exact as the angle's float32 product would be.
__device__ void cosine_and_sine(std::int32_t position, float frequency, float* cosine,
                                float* sine) {
  constexpr double kTurn = 6.283185307179586476925286766559;
  const double angle = static_cast<double>(position) * static_cast<double>(frequency);
  const auto rest = static_cast<float>(angle - kTurn * rint(angle / kTurn));
  *cosine = cosf(rest);
  *sine = sinf(rest);
}

// Grid: (heads * pairs) / kThreads, tokens.
__global__ void rope_kernel(RopeArgs args) {
  const std::int32_t pairs = args.rope_dims / 2;
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t heads = args.x.columns / args.head_dim;
  if (index >= heads * pairs) return;
  const auto pair = static_cast<std::int32_t>(index % pairs);
  const bool halves = args.style == RopeStyle::kHalves;
  const std::int64_t first = index / pairs * args.head_dim + (halves ? pair : 2 * pair);
  const std::int64_t second = first + (halves ? pairs : 1);
  for (std::int64_t token = blockIdx.y; token < args.x.rows; token += gridDim.y) {
    float cosine, sine;
    cosine_and_sine(args.positions[token], args.inverse_frequencies[pair], &cosine, &sine);
    float* row = row_of(args.x, token);
    const float a = row[first], b = row[second];
    row[first] = args.magnitude * (a * cosine - b * sine);
    row[second] = args.magnitude * (a * sine + b * cosine);
  }
}

}  // namespace

cudaError_t rope(cudaStream_t stream, const RopeArgs& args) {
  const std::int64_t turned = args.x.columns / std::max(args.head_dim, 1) * (args.rope_dims / 2);
  if (args.x.rows == 0 || turned == 0) return cudaSuccess;
  return launch(stream, rope_kernel, shape_over(args.x.rows, turned, kThreads), args);
}

}  // namespace tandem::cuda
