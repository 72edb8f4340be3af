#pragma once

#include <nccl.h>

#include <atomic>

// What tests set and ask of the library that plays NCCL (nccl_double.cpp); thread-safe.
struct NcclDouble {
  std::atomic<ncclResult_t> init_result{ncclSuccess};    // of the next ncclCommInitAll
  std::atomic<ncclResult_t> reduce_result{ncclSuccess};  // of every ncclAllReduce
  std::atomic<bool> gives_wrong_sums{false};
  std::atomic<bool> hangs{false};  // reductions end when they are aborted, and not before
  std::atomic<int> num_inits{0};
  std::atomic<int> num_reductions{0};  // calls of one rank each
  std::atomic<int> num_alive{0};       // communicators that were not aborted yet
};

extern "C" NcclDouble* nccl_double();
