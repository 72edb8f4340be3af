#pragma once

// CUDA's words for functions and variables, for sources that are compiled as plain C++.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __constant__
// One block at a time runs on a host thread, so that its shared variables are that thread's.
#define __shared__ static thread_local
