#include <cstring>

#include "comm/local/add_in_order.h"
#include "comm/local/local_group.h"

namespace tandem {

// Reduce-scatter, then all-gather, in the matrices themselves: each rank adds up its chunk of all
// matrices in the order of ranks (the same bits as one-shot), into its own matrix; then each copies
// the chunks of the others. 2 (P - 1) / P * bytes read by each rank, no staging memory.
//
// In the first step only rank r reads chunk r of anybody's matrix, so it may write it; in the
// second only the copies of chunk r elsewhere are written, which nobody reads any more.
Status LocalCommunicator::reduce_two_shot(MatrixView x) {
  const std::int64_t elements = x.rows * x.columns;
  seat().view = x;
  signal();
  TANDEM_TRY_STATUS(wait_for_all(true));
  {
    const Reading reading(seat());
    if (!reading.allowed()) return failure();
    for_segments(x.columns, chunk_begin(elements, rank_, size()),
                 chunk_begin(elements, rank_ + 1, size()),
                 [&](std::int64_t row, std::int64_t first, std::int64_t count) {
                   add_in_order(x.row(row) + first, count, size(),
                                [&](int rank) { return seat_of(rank).view.row(row) + first; });
                 });
  }
  signal();
  TANDEM_TRY_STATUS(wait_for_all(true));
  {
    const Reading reading(seat());
    if (!reading.allowed()) return failure();
    for (int i = 1; i < size(); ++i) copy_chunk(x, (rank_ + i) % size());
  }
  // Nobody may change its chunk while others copy it.
  signal();
  return wait_for_all(false);
}

void LocalCommunicator::copy_chunk(MatrixView x, int peer) {
  const MatrixView& source = seat_of(peer).view;
  const std::int64_t elements = x.rows * x.columns;
  for_segments(x.columns, chunk_begin(elements, peer, size()),
               chunk_begin(elements, peer + 1, size()),
               [&](std::int64_t row, std::int64_t first, std::int64_t count) {
                 std::memcpy(x.row(row) + first, source.row(row) + first,
                             static_cast<std::size_t>(count) * sizeof(float));
               });
}

}  // namespace tandem
