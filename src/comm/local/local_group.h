#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/waitable_counter.h"
#include "comm/communicator.h"
#include "device/cpu/host_memory.h"

namespace tandem {

// The error that made a group or link unusable; the first one stays. Thread-safe.
class SharedFailure {
 public:
  void set(const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
  }
  std::optional<Error> get() const {
    const std::lock_guard lock(mutex_);
    return error_;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<Error> error_;
};

Error peer_lost(const Error& reason);
WaitLimits wait_limits(int num_threads, std::int64_t spin_us, std::int64_t deadline_us);
// Blocks for an injected delay.
void delay(std::int64_t delay_us);

// What the seats of one group share. Every rank takes the same steps in the same order; a step ends
// with a signal, and who needs what the others wrote in step n waits until their counts reach n.
struct LocalGroup {
  // One rank's side, on cache lines of its own. `view` and `staging` belong to the rank until it
  // signals and to the readers until they have signalled the step in which they read.
  struct alignas(64) Seat {
    WaitableCounter steps;
    // The rank is reading others' matrices: see LocalCommunicator::Reading.
    std::atomic<bool> reads{false};
    alignas(64) MatrixView view;
    HostMemory staging;  // two halves that one-shot reductions use in turn
  };

  explicit LocalGroup(const LocalGroupOptions& options);

  // Fails every present and future wait. Does not block.
  void fail(const Error& error);

  LocalGroupOptions options;
  WaitLimits limits;
  std::int64_t one_shot_bytes = 0;  // messages up to this size are reduced one-shot
  std::int64_t ring_bytes = 0;      // messages from this size on, by ring
  std::vector<Seat> seats;
  SharedFailure failure;
};

// Calls body(row, first column, count) for the parts of rows that hold elements [begin, end) of a
// matrix of `columns` columns, numbered row after row.
template <typename F>
void for_segments(std::int64_t columns, std::int64_t begin, std::int64_t end, F&& body) {
  while (begin < end) {
    const std::int64_t row = begin / columns;
    const std::int64_t first = begin % columns;
    const std::int64_t count = end - begin < columns - first ? end - begin : columns - first;
    body(row, first, count);
    begin += count;
  }
}

// Where chunk `index` of `count` nearly equal chunks of `elements` begins: at a whole cache line,
// so that no two ranks write to one.
std::int64_t chunk_begin(std::int64_t elements, int index, int count);

class LocalCommunicator : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank);
  // Leaving the group fails it: nobody may wait for a rank that is gone.
  ~LocalCommunicator() override;

  int rank() const override { return rank_; }
  int size() const override { return group_->options.size; }
  Status all_reduce_sum(Stream& stream, MatrixView x) override;
  Status all_gather_columns(Stream& stream, MatrixView x,
                            const std::vector<std::int64_t>& offsets) override;
  Status barrier() override;
  void abort(const Error& reason) override;
  const CommStats& stats() const override { return stats_; }
  void reset_stats() override { stats_ = {}; }

 private:
  // While one lives, the matrices of the other ranks stay where they are: a rank that gives up a
  // collective (and may free its memory then) waits until nobody reads. Begins only while the group
  // is sound.
  class Reading {
   public:
    explicit Reading(LocalGroup::Seat& seat) : seat_(seat) { seat_.reads.store(true); }
    ~Reading() { seat_.reads.store(false); }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    bool allowed() const { return !seat_.steps.interrupted(); }

   private:
    LocalGroup::Seat& seat_;
  };
  // For a rank that gives up: returns `failure` when nobody reads its matrix any more.
  Status give_up(Status failure);

  ReduceAlgorithm choose(std::int64_t bytes) const;
  Status reduce(MatrixView x);
  Status reduce_one_shot(MatrixView x);  // one_shot.cpp
  Status reduce_two_shot(MatrixView x);  // two_shot.cpp
  void copy_chunk(MatrixView x, int peer);
  Status reduce_ring(MatrixView x);  // ring.cpp
  Status ring_step(MatrixView x, int step);
  Status gather(MatrixView x, const std::vector<std::int64_t>& offsets);

  LocalGroup::Seat& seat() { return group_->seats[static_cast<std::size_t>(rank_)]; }
  const LocalGroup::Seat& seat_of(int rank) const {
    return group_->seats[static_cast<std::size_t>(rank)];
  }
  // Waits for what was enqueued before, and enters the collective if the group is sound.
  Status begin(Stream& stream);
  // Ends this rank's step: what it wrote can be read.
  void signal();
  // Until `peer` has ended `step`.
  Status wait_for(int peer, std::uint32_t step);
  // Until all have ended this rank's last step; with_data: what they wrote is a message, which an
  // injected delay makes late.
  Status wait_for_all(bool with_data);
  Status fail(const Error& error);
  Status failure() const { return *group_->failure.get(); }

  std::shared_ptr<LocalGroup> group_;
  int rank_;
  std::uint32_t steps_ = 0;          // ended by this rank
  std::uint32_t num_one_shots_ = 0;  // which half of the staging memory is next
  CommStats stats_;
};

}  // namespace tandem
