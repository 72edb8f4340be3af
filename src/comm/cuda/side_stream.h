#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "device/cuda/cuda_api.h"
#include "device/cuda/span_timer.h"

namespace tandem::cuda {

// A second stream of a rank, for pieces of work that go on beside its main stream: each begins
// behind what the main stream was given so far, and the main stream waits for them later, in their
// order. By events alone: the host waits for nothing, and where the main stream is being recorded
// the pieces become branches of its graph. Used by one thread.
class SideStream {
 public:
  static constexpr std::int64_t kMostOpen = 8;

  // On the GPU of CUDA's number `gpu`, before the main streams' in line for its multiprocessors:
  // what others wait for is short and should not queue behind arithmetic. Not while kernels wait
  // for other ranks.
  static Result<std::unique_ptr<SideStream>> create(int gpu);
  ~SideStream();
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

  cudaStream_t stream() const { return stream_; }
  // What is enqueued on stream() up to end() is a piece. At most kMostOpen that await() has not
  // taken. The calling thread's device is the stream's.
  Status begin(cudaStream_t main);
  Status end();
  // What follows on `main` begins when the oldest piece that was not awaited is done.
  Status await(cudaStream_t main);
  std::int64_t num_open() const { return num_ended_ - num_awaited_; }
  // How long main streams had nothing to do but to wait in await(), since the last call, as far as
  // they have passed it.
  double take_stood_still_seconds() { return stood_still_.take_seconds(); }

 private:
  explicit SideStream(int gpu) : gpu_(gpu) {}
  Status open();
  cudaEvent_t done(std::int64_t piece) const {
    return done_[static_cast<std::size_t>(piece % kMostOpen)];
  }

  int gpu_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t given_ = nullptr;  // what the main stream had before a piece
  std::array<cudaEvent_t, kMostOpen> done_{};
  std::int64_t num_ended_ = 0;
  std::int64_t num_awaited_ = 0;
  SpanTimer stood_still_;
};

}  // namespace tandem::cuda
