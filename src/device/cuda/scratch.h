#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "device/cuda/arena.h"

namespace tandem::cuda {

// Device memory that the ops of one stream use while they run, cut from the rank's arena. Grows to
// the largest op and then stays, so that a step that was seen before allocates nothing. What was
// given out before stays allocated as long as this lives: work that is enqueued, and graphs, go on
// using it.
class Scratch {
 public:
  // first_bytes: what is taken of the arena at first; 0: a MiB.
  Scratch(std::shared_ptr<Arena> arena, std::int64_t first_bytes);

  // `bytes` for the op that asks, 256-byte aligned, until begin_op(). kOutOfMemory.
  Result<void*> take(std::int64_t bytes);
  template <typename T>
  Result<T*> take_array(std::int64_t count) {
    TANDEM_TRY(void* memory, take(count * static_cast<std::int64_t>(sizeof(T))));
    return static_cast<T*>(memory);
  }
  // What was taken may be given out again: the stream keeps ops apart.
  void begin_op() { used_ = 0; }

 private:
  std::shared_ptr<Arena> arena_;
  std::int64_t first_bytes_;
  std::vector<std::unique_ptr<Buffer>> chunks_;  // the last one is in use
  std::int64_t used_ = 0;
};

}  // namespace tandem::cuda
