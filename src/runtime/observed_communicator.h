#pragma once

#include <atomic>
#include <memory>

#include "comm/communicator.h"
#include "comm/overlapping.h"
#include "comm/recordable.h"

namespace tandem {

// A rank's seat as the runtime watches it: every collective counts as a sign of life, and for tests
// and `bench` the time between two collectives, the rank's own arithmetic, can be stretched.
class ObservedCommunicator : public Communicator, public Overlapping {
 public:
  // slowdown: 0.2 makes the arithmetic between collectives take 20 % longer, once `from_step` steps
  // are done. The calling thread then waits for the stream in every collective.
  ObservedCommunicator(std::unique_ptr<Communicator> inner, double slowdown,
                       std::int64_t from_step = 0);

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Status all_reduce_sum(Stream& stream, MatrixView x) override;
  Status all_gather_columns(Stream& stream, MatrixView x,
                            const std::vector<std::int64_t>& offsets) override;
  Status barrier() override;
  // As a whole where `inner` does not overlap, or where the arithmetic between collectives is
  // stretched, for which nothing may go on beside them.
  std::int64_t rows_at_once(const MatrixView& x) const override;
  Status begin_sum(Stream& stream, MatrixView part) override;
  Status await_sum(Stream& stream) override;
  void abort(const Error& reason) override { inner_->abort(reason); }
  const CommStats& stats() const override { return inner_->stats(); }
  void reset_stats() override { inner_->reset_stats(); }

  // As Recordable; never while arithmetic is stretched, which is the host's doing.
  bool can_be_recorded() const {
    const auto* recordable = dynamic_cast<const Recordable*>(inner_.get());
    return slowdown_ <= 0 && recordable != nullptr && recordable->can_be_recorded();
  }
  // The rank begins a step: its arithmetic is measured from here.
  void begin_step();
  // Grows while the rank makes progress. Any thread.
  std::uint64_t num_signs() const { return num_signs_.load(std::memory_order_relaxed); }
  void sign() { num_signs_.fetch_add(1, std::memory_order_relaxed); }

 private:
  bool is_slow() const { return slowdown_ > 0 && steps_until_slow_ < 0; }
  static void finish(Stream* stream);
  void before_collective(Stream* stream);
  void after_collective(Stream* stream);

  std::unique_ptr<Communicator> inner_;
  Overlapping* overlapping_ = nullptr;  // inner_, if it is one
  double slowdown_;
  std::int64_t steps_until_slow_;
  std::int64_t arithmetic_began_ns_ = 0;
  std::atomic<std::uint64_t> num_signs_{0};
};

}  // namespace tandem
