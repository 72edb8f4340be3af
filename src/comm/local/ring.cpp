#include <cstring>

#include "base/clock.h"
#include "comm/local/local_group.h"

namespace tandem {

// 2 (P - 1) steps of bytes / P; each rank reads from its left neighbour alone, in the matrices
// themselves. In step s of the first half it adds chunk (rank - 1 - s) of its left to its own, so
// that the sum of chunk c grows from rank c to rank c - 1 (the order of additions is fixed, but
// differs from chunk to chunk); in step s of the second half it copies the finished chunk (rank -
// s).
//
// A rank overwrites a chunk in the second half only after its right neighbour has read the partial
// sum there, which it did in the first half's step of the same number.
Status LocalCommunicator::reduce_ring(MatrixView x) {
  seat().view = x;
  signal();
  TANDEM_TRY_STATUS(wait_for_all(false));  // everybody's matrix is known
  for (int step = 0; step < 2 * (size() - 1); ++step) {
    TANDEM_TRY_STATUS(ring_step(x, step));
    signal();
  }
  return wait_for_all(false);  // nobody reads this rank's matrix any more
}

Status LocalCommunicator::ring_step(MatrixView x, int step) {
  const int left = (rank_ + size() - 1) % size();
  const int right = (rank_ + 1) % size();
  const bool adds = step < size() - 1;
  const int place = adds ? rank_ - 1 - step : rank_ - (step - (size() - 1));
  const int chunk = (place + 2 * size()) % size();
  {
    const std::int64_t begin_ns = monotonic_ns();
    // The left neighbour's previous step made the chunk. Its first chunk is there from the start.
    TANDEM_TRY_STATUS(wait_for(left, steps_));
    if (!adds)
      TANDEM_TRY_STATUS(wait_for(right, steps_ - static_cast<std::uint32_t>(size() - 1) + 1));
    delay(group_->options.injected_delay_us);
    stats_.wait_seconds += 1e-9 * static_cast<double>(monotonic_ns() - begin_ns);
  }
  const Reading reading(seat());
  if (!reading.allowed()) return failure();
  const MatrixView& source = seat_of(left).view;
  const std::int64_t elements = x.rows * x.columns;
  for_segments(x.columns, chunk_begin(elements, chunk, size()),
               chunk_begin(elements, chunk + 1, size()),
               [&](std::int64_t row, std::int64_t first, std::int64_t count) {
                 const float* from = source.row(row) + first;
                 float* to = x.row(row) + first;
                 if (adds) {
                   for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
                 } else {
                   std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
                 }
               });
  return {};
}

}  // namespace tandem
