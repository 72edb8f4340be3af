#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace tandem::cuda {

// Device memory that the ops of one stream use while they run. Grows to the largest op and then
// stays, so that a step that was seen before allocates nothing. What was given out before stays
// allocated as long as this lives: work that is enqueued, and graphs, go on using it.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // `bytes` for the op that asks, 256-byte aligned, until begin_op(). kOutOfMemory.
  Result<void*> take(std::int64_t bytes);
  template <typename T>
  Result<T*> take_array(std::int64_t count) {
    TANDEM_TRY(void* memory, take(count * static_cast<std::int64_t>(sizeof(T))));
    return static_cast<T*>(memory);
  }
  // What was taken may be given out again: the stream keeps ops apart.
  void begin_op() { used_ = 0; }
  std::int64_t size_bytes() const;

 private:
  struct Chunk {
    void* memory;
    std::int64_t bytes;
  };
  std::vector<Chunk> chunks_;  // the last one is in use
  std::int64_t used_ = 0;
};

}  // namespace tandem::cuda
