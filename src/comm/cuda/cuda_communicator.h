#pragma once

#include <memory>

#include "comm/cuda/gpu_floats.h"
#include "comm/cuda/group_memory.h"
#include "comm/cuda/large_reduce.h"
#include "comm/cuda/overlap.h"
#include "comm/cuda/side_stream.h"
#include "comm/overlapping.h"
#include "comm/recordable.h"
#include "device/cuda/cuda_stream.h"

namespace tandem::cuda {

// From which sizes on (bytes of float32) a group uses which algorithm.
struct Crossovers {
  std::int64_t two_shot = 0;  // one-shot below it
  std::int64_t ring = 0;      // two-shot below it
};
Crossovers usual_crossovers(const InboxLayout& layout, ReduceAlgorithm algorithm);

// One rank's seat in a group of GPUs; see cuda_group.h.
class CudaCommunicator : public Communicator, public Recordable, public Overlapping {
 public:
  // host: the same rank's seat in a group of threads, for barriers.
  // large: what takes the place of the ring; may be null.
  CudaCommunicator(std::shared_ptr<GroupMemory> memory, std::unique_ptr<Communicator> host,
                   std::shared_ptr<LargeReduce> large, const CudaGroupOptions& options,
                   const Crossovers& crossovers);
  // Leaving the group fails it: nobody may wait for a rank that is gone.
  ~CudaCommunicator() override;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  bool can_be_recorded() const override { return true; }
  Status all_reduce_sum(Stream& stream, MatrixView x) override;
  Status all_gather_columns(Stream& stream, MatrixView x,
                            const std::vector<std::int64_t>& offsets) override;
  Status barrier() override;
  void abort(const Error& reason) override;
  const CommStats& stats() const override;
  void reset_stats() override;
  void set_crossovers(const Crossovers& crossovers) { crossovers_ = crossovers; }
  // From here on sums may go on beside arithmetic, on `side`. terms: the same for every rank.
  void overlap_on(std::unique_ptr<SideStream> side, const OverlapTerms& terms);

  std::int64_t rows_at_once(const MatrixView& x) const override;
  Status begin_sum(Stream& stream, MatrixView part) override;
  Status await_sum(Stream& stream) override;

 private:
  // Where a reduction's kernels go, and how they wait.
  struct Lane {
    cudaStream_t stream = nullptr;
    WaitTerms terms;
  };
  // Enters the collective if the group and the stream are sound.
  Result<Lane> begin(Stream& stream);
  Status reduce(const Lane& lane, MatrixView x);
  Status reduce_by_kernel(const Lane& lane, MatrixView piece, bool one_shot);
  Status reduce_by_library(const Lane& lane, const MatrixView& x);
  // ring.cpp
  Status reduce_ring(const Lane& lane, MatrixView x);
  Status grow_sum(const Lane& lane, const MatrixView& piece);
  Status spread_sum(const Lane& lane, const MatrixView& piece);
  Status send_piece(const Lane& lane, int ring, std::int64_t number, const MatrixView& piece);
  Status await(const Lane& lane, int flag, std::int64_t count, int peer);
  std::int64_t next_half() { return num_halves_used_++ % 2 * memory_->layout().half_bytes; }

  std::shared_ptr<GroupMemory> memory_;
  std::unique_ptr<Communicator> host_;
  std::shared_ptr<LargeReduce> large_;
  GpuFloats dense_copy_;  // of parts that are not dense, for large_; one sum after another
  CudaGroupOptions options_;
  Crossovers crossovers_;
  Seats seats_;
  WaitTerms terms_;
  std::unique_ptr<SideStream> side_;  // null: nothing overlaps
  OverlapTerms overlap_;
  std::uint32_t sequence_ = 0;
  std::int64_t num_halves_used_ = 0;
  std::int64_t pieces_grown_ = 0;
  std::int64_t pieces_spread_ = 0;
  mutable CommStats stats_;
  std::uint64_t wait_ns_at_reset_ = 0;
  std::uint64_t move_ns_at_reset_ = 0;
  mutable double stood_still_seconds_ = 0;  // for sums beside arithmetic, since the reset
};

// Calls body(part) for parts of x of at most `max_floats` numbers each: whole rows, or parts of
// one; the same parts for every matrix of this shape. body returns a Status; the first error ends
// it.
template <typename Body>
Status for_parts(const MatrixView& x, std::int64_t max_floats, Body&& body) {
  const std::int64_t columns = x.columns < max_floats ? x.columns : max_floats / 4 * 4;
  const std::int64_t rows = max_floats / columns;
  for (std::int64_t row = 0; row < x.rows; row += rows) {
    for (std::int64_t column = 0; column < x.columns; column += columns) {
      const MatrixView lines = x.slice_rows(row, rows < x.rows - row ? rows : x.rows - row);
      const std::int64_t left = x.columns - column;
      TANDEM_TRY_STATUS(body(lines.slice_columns(column, columns < left ? columns : left)));
    }
  }
  return {};
}

}  // namespace tandem::cuda
