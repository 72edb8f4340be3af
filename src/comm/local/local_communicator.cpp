#include <sched.h>

#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/units.h"
#include "comm/local/local_group.h"

namespace tandem {
namespace {

std::int64_t bytes_of_matrix(const MatrixView& x) {
  return x.rows * x.columns * static_cast<std::int64_t>(sizeof(float));
}

// Adds the time from its making to its end to `seconds`.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() { seconds_ += 1e-9 * static_cast<double>(monotonic_ns() - begin_ns_); }

 private:
  double& seconds_;
  std::int64_t begin_ns_ = monotonic_ns();
};

}  // namespace

LocalCommunicator::LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank)
    : group_(std::move(group)), rank_(rank) {}

LocalCommunicator::~LocalCommunicator() {
  group_->fail(
      Error{ErrorCode::kPeerLost, "rank " + std::to_string(rank_) + " left the group", {}, {}, {}});
}

Status LocalCommunicator::fail(const Error& error) {
  group_->fail(error);
  return failure();
}

Status LocalCommunicator::begin(Stream& stream) {
  if (seat().steps.interrupted()) return failure();
  Status status = stream.synchronize(group_->options.deadline_us);
  if (status.ok()) return {};
  group_->fail(peer_lost(status.error()));
  return status;
}

void LocalCommunicator::signal() {
  ++steps_;
  seat().steps.advance();
}

Status LocalCommunicator::wait_for(int peer, std::uint32_t step) {
  WaitableCounter& counter = group_->seats[static_cast<std::size_t>(peer)].steps;
  const auto outcome = counter.wait_for(step, group_->limits);
  if (outcome == WaitableCounter::Outcome::kReached) return {};
  if (outcome == WaitableCounter::Outcome::kInterrupted) return failure();
  return fail(
      Error{ErrorCode::kDeadline,
            "rank " + std::to_string(peer) + " did not arrive at a collective",
            {},
            "within " + format_seconds(1e-6 * static_cast<double>(group_->options.deadline_us)),
            {}});
}

Status LocalCommunicator::wait_for_all(bool with_data) {
  const Stopwatch watch(stats_.wait_seconds);
  for (int i = 1; i < size(); ++i) {
    if (Status status = wait_for((rank_ + i) % size(), steps_); !status.ok()) return status;
  }
  if (with_data) delay(group_->options.injected_delay_us);
  return {};
}

ReduceAlgorithm LocalCommunicator::choose(std::int64_t bytes) const {
  if (bytes <= group_->one_shot_bytes) return ReduceAlgorithm::kOneShot;
  return bytes >= group_->ring_bytes ? ReduceAlgorithm::kRing : ReduceAlgorithm::kTwoShot;
}

Status LocalCommunicator::reduce(MatrixView x) {
  const std::int64_t bytes = bytes_of_matrix(x);
  TANDEM_CHECK(bytes <= group_->options.max_bytes, "a message is at most max_bytes");
  const ReduceAlgorithm algorithm = choose(bytes);
  stats_.sent_bytes += algorithm == ReduceAlgorithm::kOneShot ? (size() - 1) * bytes
                                                              : 2 * (size() - 1) * bytes / size();
  if (algorithm == ReduceAlgorithm::kOneShot) return reduce_one_shot(x);
  return algorithm == ReduceAlgorithm::kTwoShot ? reduce_two_shot(x) : reduce_ring(x);
}

Status LocalCommunicator::all_reduce_sum(Stream& stream, MatrixView x) {
  TANDEM_TRY_STATUS(begin(stream));
  ++stats_.num_reductions;
  if (size() == 1 || x.rows == 0 || x.columns == 0) return {};
  const std::int64_t begin_ns = monotonic_ns();
  const double waited_before = stats_.wait_seconds;
  Status status = reduce(x);
  // What was not waiting was copying and adding.
  stats_.move_seconds +=
      1e-9 * static_cast<double>(monotonic_ns() - begin_ns) - (stats_.wait_seconds - waited_before);
  return status.ok() ? status : give_up(std::move(status));
}

Status LocalCommunicator::all_gather_columns(Stream& stream, MatrixView x,
                                             const std::vector<std::int64_t>& offsets) {
  TANDEM_CHECK(static_cast<int>(offsets.size()) == size() + 1 && offsets.front() == 0 &&
                   offsets.back() == x.columns,
               "offsets cut the columns among the ranks");
  TANDEM_TRY_STATUS(begin(stream));
  ++stats_.num_transfers;
  if (size() == 1 || x.rows == 0 || x.columns == 0) return {};
  Status status = gather(x, offsets);
  return status.ok() ? status : give_up(std::move(status));
}

Status LocalCommunicator::gather(MatrixView x, const std::vector<std::int64_t>& offsets) {
  seat().view = x;
  signal();
  TANDEM_TRY_STATUS(wait_for_all(true));
  {
    // Peers read only this rank's own columns, which it does not write.
    const Stopwatch watch(stats_.move_seconds);
    const Reading reading(seat());
    if (!reading.allowed()) return failure();
    for (int i = 1; i < size(); ++i) {
      const int peer = (rank_ + i) % size();
      const std::int64_t first = offsets[static_cast<std::size_t>(peer)];
      const std::int64_t count = offsets[static_cast<std::size_t>(peer) + 1] - first;
      const MatrixView& source = seat_of(peer).view;
      for (std::int64_t row = 0; row < x.rows && count > 0; ++row) {
        std::memcpy(x.row(row) + first, source.row(row) + first,
                    static_cast<std::size_t>(count) * sizeof(float));
      }
    }
  }
  const std::int64_t own =
      offsets[static_cast<std::size_t>(rank_) + 1] - offsets[static_cast<std::size_t>(rank_)];
  stats_.sent_bytes += (size() - 1) * x.rows * own * static_cast<std::int64_t>(sizeof(float));
  // Nobody may change its columns while others read them.
  signal();
  return wait_for_all(false);
}

Status LocalCommunicator::give_up(Status failure) {
  // All seats must have been told before their flags are looked at: who has not begun to read by
  // then will not.
  group_->fail(failure.error());
  for (LocalGroup::Seat& peer : group_->seats) {
    while (peer.reads.load()) sched_yield();
  }
  return failure;
}

Status LocalCommunicator::barrier() {
  if (seat().steps.interrupted()) return failure();
  signal();
  return wait_for_all(true);
}

void LocalCommunicator::abort(const Error& reason) {
  group_->fail(peer_lost(reason));
}

}  // namespace tandem
