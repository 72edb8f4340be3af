#pragma once

#include <nccl.h>

namespace tandem::cuda {

// The calls of NCCL that are used. The library is opened when it is first needed, so that one
// program starts on machines with and without it; nccl.h gives the types alone.
struct NcclLibrary {
  decltype(&ncclCommInitAll) init_all = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
  decltype(&ncclCommAbort) abort = nullptr;
  decltype(&ncclGetErrorString) error_string = nullptr;

  bool is_complete() const { return init_all && all_reduce && abort && error_string; }
};

// Incomplete where this machine has no libnccl.so.2.
const NcclLibrary& nccl_library();

}  // namespace tandem::cuda
