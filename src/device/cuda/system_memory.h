#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// Memory on which several GPUs and the host work at the same time: flags that say how far somebody
// is, and data that was written before a flag. The PTX memory model at system scope; in kernels:
//
//   void store_flag(std::uint32_t* flag, std::uint32_t value)
//     What this thread wrote before, and what it saw of others, is visible to whoever reads
//     `value`.
//   std::uint32_t load_flag(const std::uint32_t* flag)
//     What comes after sees what was written before the flag was stored.
//   void store_shared(T* to, const T& value);  T load_shared(const T* from)
//     4, 8 or 16 bytes, past caches that others do not see.
//   void pause_polling()      in loops that wait for a flag
//   std::uint64_t clock_ns()  the same clock on every thread of a GPU

}  // namespace tandem::cuda

#ifdef TANDEM_CUDA_EMULATED
#include <simt/system_memory.h>
#else
#include "device/cuda/system_memory_ptx.h"
#endif
