#pragma once

#include <tuple>
#include <utility>

#include "simt/block.h"
#include "simt/runtime.h"

namespace tandem::cuda {

// As the counterpart for GPUs (device/cuda/gpu_launch.h) says.
struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
};

template <typename... Parameters, typename... Arguments>
cudaError_t launch(cudaStream_t stream, void (*kernel)(Parameters...), const LaunchShape& shape,
                   Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  const unsigned threads = shape.block.x * shape.block.y * shape.block.z;
  const bool fits = threads > 0 && threads <= 1024 && shape.block.z <= 64 && shape.grid.x > 0 &&
                    shape.grid.y > 0 && shape.grid.y <= 65535 && shape.grid.z > 0 &&
                    shape.grid.z <= 65535 && shape.shared_bytes <= 227 * 1024;
  if (!fits) return cudaErrorInvalidConfiguration;
  simt::Grid grid;
  grid.grid = shape.grid;
  grid.block = shape.block;
  grid.shared_bytes = shape.shared_bytes;
  grid.body = [kernel, values = std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)] {
    std::apply(kernel, values);
  };
  return simt::enqueue(stream, reinterpret_cast<const void*>(kernel),
                       [grid = std::move(grid)] { return simt::run_grid(grid); });
}

}  // namespace tandem::cuda

#define TANDEM_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(simt::dynamic_shared())
