#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "device/device.h"

namespace tandem {

// What a rank's collectives have cost it since the last reset.
struct CommStats {
  double wait_seconds = 0;  // for peers to arrive
  double move_seconds = 0;  // copying and adding
  std::int64_t sent_bytes = 0;
  std::int64_t num_reductions = 0;
  std::int64_t num_transfers = 0;
};

// One rank's seat in a group of ranks that work on the same stage. Every rank calls the same
// collectives in the same order with the same shapes. Used by its rank's thread alone, except
// abort(), which any thread may call.
//
// Stream-ordered: a collective takes its place behind the ops enqueued before it. After an error
// (kPeerLost, kDeadline) the group is unusable: every call on every seat returns that error until
// the group is rebuilt.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Sums x over the group, in place: Partial -> Replicated. x: [num_tokens, hidden], the same shape
  // on every rank. Adds in a fixed order: every rank ends with the same bits, and a run repeats
  // exactly. One-shot (each reads all: (P-1) * bytes, 1 step), two-shot (reduce-scatter and
  // all-gather through shared memory: 2 (P-1)/P * bytes, 2 steps) or ring (2 (P-1) steps of
  // bytes/P), chosen by size.
  virtual Status all_reduce_sum(Stream& stream, MatrixView x) = 0;

  // Every rank holds columns [offsets[rank], offsets[rank + 1]) of x and ends with all of them.
  // offsets: size() + 1 entries from 0 to x.columns.
  virtual Status all_gather_columns(Stream& stream, MatrixView x,
                                    const std::vector<std::int64_t>& offsets) = 0;

  // Returns when every rank of the group has called it.
  virtual Status barrier() = 0;

  // Makes every present and future wait of every seat return `reason` (as kPeerLost). Does not
  // block.
  virtual void abort(const Error& reason) = 0;

  virtual const CommStats& stats() const = 0;
  virtual void reset_stats() = 0;
};

// The way of hidden states from one stage to the next: the first rank of a stage sends, every rank
// of the next stage receives the same matrix. Holds at least two messages, so that a stage can
// begin its next micro-batch while the next stage is still at work.
class StageLink {
 public:
  virtual ~StageLink() = default;
  // x: [num_tokens, hidden]. Blocks only while all message slots are full.
  virtual Status send(Stream& stream, MatrixView x) = 0;
  // Fills x with the next message in order, which must have its shape. `receiver`: 0 .. number of
  // receivers - 1. Blocks until it is there.
  virtual Status receive(Stream& stream, int receiver, MatrixView x) = 0;
  // Would receive() return at once? A link that cannot say answers yes. Any thread.
  virtual bool has_message(int receiver) const {
    (void)receiver;
    return true;
  }
  virtual void abort(const Error& reason) = 0;
  // Time spent blocked by the sender (`receiver` = -1) or a receiver, and bytes moved.
  virtual CommStats stats(int receiver) const = 0;
  virtual void reset_stats() = 0;
};

enum class ReduceAlgorithm : std::uint8_t { kAuto, kOneShot, kTwoShot, kRing };

struct LocalGroupOptions {
  int size = 1;
  std::int64_t max_bytes = 0;             // the largest message of any collective
  std::int64_t deadline_us = 30'000'000;  // of any wait for a peer
  std::int64_t spin_us = 2000;            // then the waiting thread sleeps until it is woken
  ReduceAlgorithm algorithm = ReduceAlgorithm::kAuto;
  // Faults for tests and `bench`: every message of this group takes this much longer.
  std::int64_t injected_delay_us = 0;
};

// Seats for `size` ranks that are threads of this process and whose memory the host can address.
std::vector<std::unique_ptr<Communicator>> create_local_group(const LocalGroupOptions& options);

struct LocalLinkOptions {
  int num_receivers = 1;
  int num_slots = 2;
  std::int64_t max_bytes = 0;
  std::int64_t deadline_us = 30'000'000;
  std::int64_t spin_us = 2000;
  std::int64_t injected_delay_us = 0;
};

std::unique_ptr<StageLink> create_local_link(const LocalLinkOptions& options);

}  // namespace tandem
