#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <tuple>
#include <utility>

namespace tandem::cuda {

struct LaunchShape {
  dim3 grid;                     // blocks
  dim3 block;                    // threads of a block
  std::size_t shared_bytes = 0;  // dynamic shared memory of a block
};

// Starts `kernel` on `stream` with `arguments`, converted to its parameters. Stream-ordered:
// returns at once, with what can be known of the start (a wrong shape, a device that failed
// before).
template <typename... Parameters, typename... Arguments>
cudaError_t launch(cudaStream_t stream, void (*kernel)(Parameters...), const LaunchShape& shape,
                   Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  constexpr std::size_t kWithoutAsking = 48 * 1024;  // CUDA's limit where a kernel asks for no more
  const auto* function = reinterpret_cast<const void*>(kernel);
  if (shape.shared_bytes > kWithoutAsking) {
    const cudaError_t error =
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shape.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  return std::apply(
      [&](auto&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))..., nullptr};
        return cudaLaunchKernel(function, shape.grid, shape.block, pointers, shape.shared_bytes,
                                stream);
      },
      values);
}

}  // namespace tandem::cuda

// One extern array serves every kernel: CUDA gives them all the same start.
extern __shared__ __align__(16) unsigned char tandem_dynamic_shared[];
#define TANDEM_DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(tandem_dynamic_shared)
