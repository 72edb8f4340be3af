#pragma once

// The one way in which CUDA sources see CUDA: the toolkit under nvcc, and the emulation of
// tests/simt/ where the same sources are compiled as C++ for tests. Both give
//   launch(stream, kernel, LaunchShape{grid, block, shared_bytes}, arguments...)   in tandem::cuda
//   TANDEM_DYNAMIC_SHARED(T, name): `T* name`, the block's dynamic shared memory, 16-byte aligned
// and TANDEM_WARP_MMA_HEADER, which warp_mma.h includes.
#ifdef TANDEM_CUDA_EMULATED
#include <simt/cuda.h>
#define TANDEM_WARP_MMA_HEADER <simt/warp_mma.h>
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "device/cuda/gpu_launch.h"
#define TANDEM_WARP_MMA_HEADER "device/cuda/warp_mma_ptx.h"
#endif
