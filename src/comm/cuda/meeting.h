#pragma once

#include "comm/cuda/exchange.h"
#include "device/cuda/system_memory.h"

namespace tandem::cuda {

// Is a counter at `wanted` or beyond? Counters run round.
__device__ inline bool has_reached(std::uint32_t counter, std::uint32_t wanted) {
  return static_cast<std::int32_t>(counter - wanted) >= 0;
}

// Polls until *flag has reached `wanted`. False: the deadline has passed or the group was aborted,
// which the report says.
__device__ inline bool wait_for_flag(const std::uint32_t* flag, std::uint32_t wanted, int peer,
                                     const WaitTerms& terms) {
  constexpr unsigned kPollsBetweenLooks = 64;  // at the clock, and at the host's memory
  std::uint64_t began = 0;
  for (unsigned polls = 1;; ++polls) {
    if (has_reached(load_flag(flag), wanted)) return true;
    pause_polling();
    if (polls % kPollsBetweenLooks != 0) continue;
    const std::uint64_t now = clock_ns();
    if (began == 0) began = now;
    const bool aborted = load_flag(terms.abort) != 0;
    if (!aborted && now - began < terms.deadline_ns) continue;
    // What ended the first wait stays: those behind it are only told to stop.
    if (load_flag(&terms.report->failed) == 0) {
      store_flag(&terms.report->late_rank, static_cast<std::uint32_t>(peer));
      store_flag(&terms.report->failed, aborted ? kFailedByAbort : kFailedByDeadline);
    }
    store_flag(terms.abort, 1);
    return false;
  }
}

// Writes `value` where everybody (or rank `to` alone) reads the slot of this rank at `offset` in
// its inbox. In host memory what is for all lies in the first rank's inbox.
template <typename T>
__device__ void write_to_all(const Seats& seats, std::int64_t offset, std::int64_t index,
                             const T& value) {
  const int copies = seats.in_host_memory ? 1 : seats.size;
  for (int i = 0; i < copies; ++i) {
    store_shared(reinterpret_cast<T*>(seats.inboxes[i] + offset) + index, value);
  }
}
template <typename T>
__device__ T read_from_all(const Seats& seats, std::int64_t offset, std::int64_t index) {
  const std::byte* inbox = seats.inboxes[seats.in_host_memory ? 0 : seats.rank];
  return load_shared(reinterpret_cast<const T*>(inbox + offset) + index);
}

// All threads of a block call this: returns when the same block of every rank has, and what those
// wrote before is there. False as wait_for_flag(). meeting: 0 or 1 within a collective.
__device__ inline bool meet(const Seats& seats, int meeting, std::uint32_t sequence,
                            const WaitTerms& terms) {
  const auto place = [&](int rank) {
    return (meeting * kMaxRanks + rank) * kMaxBlocks + static_cast<int>(blockIdx.x);
  };
  __threadfence_system();
  __syncthreads();
  const int peer = static_cast<int>(threadIdx.x);
  const std::uint64_t began = clock_ns();
  bool met = true;
  if (peer < seats.size) {
    while (terms.delay_ns > 0 && clock_ns() - began < terms.delay_ns) pause_polling();
    store_flag(seats.flags[peer] + place(seats.rank), sequence);
    met = wait_for_flag(seats.flags[seats.rank] + place(peer), sequence, peer, terms);
  }
  met = __syncthreads_and(met) != 0;
  if (threadIdx.x == 0 && blockIdx.x == 0) terms.times_ns[0] += clock_ns() - began;
  return met;
}

// Measures a kernel for the report: what is not waiting is moving and adding. One thread counts, in
// the GPU's own memory, and only writes to the host's, which would be slow to read.
class MoveWatch {
 public:
  __device__ explicit MoveWatch(const WaitTerms& terms) : terms_(terms) {
    if (!counts()) return;
    waited_ns_ = terms.times_ns[0];
    began_ns_ = clock_ns();
  }
  __device__ void stop() const {
    if (!counts()) return;
    const std::uint64_t waited = terms_.times_ns[0];
    terms_.times_ns[1] += clock_ns() - began_ns_ - (waited - waited_ns_);
    if (terms_.is_beside) return;
    terms_.report->wait_ns = waited;
    terms_.report->move_ns = terms_.times_ns[1];
  }

 private:
  __device__ static bool counts() { return threadIdx.x == 0 && blockIdx.x == 0; }
  const WaitTerms& terms_;
  std::uint64_t waited_ns_ = 0;
  std::uint64_t began_ns_ = 0;
};

}  // namespace tandem::cuda
