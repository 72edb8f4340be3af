#pragma once

#include <vector>

#include "base/result.h"
#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// How long a stream took from one place in its order to another, by events that the host reads
// later. Spans within a recording are not timed: their events would be the graph's. Used by one
// thread.
class SpanTimer {
 public:
  SpanTimer() = default;
  ~SpanTimer();
  SpanTimer(const SpanTimer&) = delete;
  SpanTimer& operator=(const SpanTimer&) = delete;

  // Stream-ordered; the calling thread's device is the stream's. end() closes the last begin().
  Status begin(cudaStream_t stream);
  Status end(cudaStream_t stream);
  // The sum of all spans since the last call, once the stream has passed them; what it has not
  // passed yet is left out.
  double take_seconds();

 private:
  // What nobody asks for is not kept for ever: then further spans are not timed.
  static constexpr std::size_t kMostSpans = 4096;
  struct Span {
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
  };
  std::vector<Span> spans_;  // the first num_used_ are waiting to be read; events are used again
  std::size_t num_used_ = 0;
  bool is_open_ = false;
};

}  // namespace tandem::cuda
