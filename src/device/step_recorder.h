#pragma once

#include <cstdint>

namespace tandem {

// What a stream may be besides: one that takes ops together and starts them as one piece, so that
// the device has no gaps between them (a CUDA graph). Ask with dynamic_cast.
class StepRecorder {
 public:
  virtual ~StepRecorder() = default;
  // What the stream is given from here on begins to run only at end_step(), in the same order.
  // `key`: ops of steps with one key are mostly alike. Nobody may wait for the stream in between,
  // and the host's part of ops (small arrays) must stay within a MiB.
  virtual void begin_step(std::uint64_t key) = 0;
  // Also where an op failed.
  virtual void end_step() = 0;
};

}  // namespace tandem
