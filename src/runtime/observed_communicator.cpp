#include "runtime/observed_communicator.h"

#include "base/clock.h"

namespace tandem {
namespace {

constexpr std::int64_t kDeadlineUs = 30'000'000;

}  // namespace

ObservedCommunicator::ObservedCommunicator(std::unique_ptr<Communicator> inner, double slowdown,
                                           std::int64_t from_step)
    : inner_(std::move(inner)),
      overlapping_(dynamic_cast<Overlapping*>(inner_.get())),
      slowdown_(slowdown),
      steps_until_slow_(from_step) {}

Status ObservedCommunicator::all_reduce_sum(Stream& stream, MatrixView x) {
  before_collective(&stream);
  Status status = inner_->all_reduce_sum(stream, x);
  after_collective(&stream);
  return status;
}

Status ObservedCommunicator::all_gather_columns(Stream& stream, MatrixView x,
                                                const std::vector<std::int64_t>& offsets) {
  before_collective(&stream);
  Status status = inner_->all_gather_columns(stream, x, offsets);
  after_collective(&stream);
  return status;
}

Status ObservedCommunicator::barrier() {
  before_collective(nullptr);
  Status status = inner_->barrier();
  after_collective(nullptr);
  return status;
}

std::int64_t ObservedCommunicator::rows_at_once(const MatrixView& x) const {
  return overlapping_ == nullptr || slowdown_ > 0 ? x.rows : overlapping_->rows_at_once(x);
}

Status ObservedCommunicator::begin_sum(Stream& stream, MatrixView part) {
  Status status = overlapping_->begin_sum(stream, part);
  sign();
  return status;
}

Status ObservedCommunicator::await_sum(Stream& stream) {
  Status status = overlapping_->await_sum(stream);
  sign();
  return status;
}

void ObservedCommunicator::begin_step() {
  if (steps_until_slow_ >= 0) --steps_until_slow_;
  arithmetic_began_ns_ = monotonic_ns();
}

// A device that works behind the calls is waited for, so that its arithmetic ends here and its
// collectives do not count as such. What failed, the next collective will say.
void ObservedCommunicator::finish(Stream* stream) {
  if (stream != nullptr) (void)stream->synchronize(kDeadlineUs);
}

void ObservedCommunicator::before_collective(Stream* stream) {
  if (!is_slow()) return;
  finish(stream);
  const std::int64_t now = monotonic_ns();
  const auto taken = static_cast<double>(now - arithmetic_began_ns_);
  const std::int64_t until = now + static_cast<std::int64_t>(slowdown_ * taken);
  while (monotonic_ns() < until) {
  }
}

void ObservedCommunicator::after_collective(Stream* stream) {
  sign();
  if (is_slow()) finish(stream);
  arithmetic_began_ns_ = monotonic_ns();
}

}  // namespace tandem
