#pragma once

#include <string>
#include <vector>

#include "base/waitable_counter.h"
#include "comm/communicator.h"
#include "comm/local/local_group.h"
#include "device/cuda/cuda_api.h"
#include "device/cuda/span_timer.h"

namespace tandem::cuda {

// One rank's side of a link: the sender's or a receiver's. What it did with message n (sent it, or
// took it) is known in two steps: `calls` says that the host has enqueued it, the event of the slot
// that the end's GPU has done it. An end of cores has done what it has called.
class LinkEnd {
 public:
  LinkEnd() = default;
  ~LinkEnd();
  LinkEnd(const LinkEnd&) = delete;
  LinkEnd& operator=(const LinkEnd&) = delete;

  // Before use. Makes the events of a GPU's end; `device` may go afterwards.
  Status open(Device& device, int num_slots);
  bool is_gpu() const { return gpu_ >= 0; }
  int gpu() const { return gpu_; }

  // The end enters a message with its stream: what was enqueued before is done (cores), or comes
  // before (a GPU). The error that poisoned the stream.
  Status begin(Stream& stream, std::int64_t deadline_us);
  // What this end does from here on comes behind what `other` last did in `slot`, which `other` has
  // enqueued. An end of cores waits for it; `failure` ends that.
  Status follow(LinkEnd& other, std::size_t slot, std::int64_t deadline_us,
                const SharedFailure& failure);
  // to = from, both reachable from here.
  Status copy(const MatrixView& to, const MatrixView& from);
  // The end has done its part of the message in `slot`, and says so.
  Status finish(std::size_t slot, std::int64_t bytes);
  // Blocks until the GPU has done what finish() was called for.
  Status wait_until_done(std::size_t slot, std::int64_t deadline_us, const SharedFailure& failure);

  std::uint64_t num_messages() const { return num_messages_; }  // finished; the end's own thread
  void add_wait(double seconds) { stats_.wait_seconds += seconds; }
  CommStats take_stats();
  void reset_stats();

  WaitableCounter calls;  // messages that finish() was called for

 private:
  int gpu_ = -1;
  std::string device_id_;
  cudaStream_t stream_ = nullptr;  // of the message at hand
  std::vector<cudaEvent_t> done_;  // by slot
  std::uint64_t num_messages_ = 0;
  CommStats stats_;
  SpanTimer waits_;
  SpanTimer moves_;
};

}  // namespace tandem::cuda
