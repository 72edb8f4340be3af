#include <cstring>

#include "comm/local/add_in_order.h"
#include "comm/local/local_group.h"

namespace tandem {

// One step: every rank copies its matrix to its staging memory, and adds up everybody's in the
// order of ranks. (P - 1) * bytes read by each rank.
//
// No second wait: a rank writes to a half of its staging memory again only in the next but one
// reduction, and it gets there only after all have begun the next, that is have ended this one.
Status LocalCommunicator::reduce_one_shot(MatrixView x) {
  const std::int64_t half = num_one_shots_++ % 2;
  const auto staging_of = [&](int rank) {
    const HostMemory& staging = seat_of(rank).staging;
    return static_cast<float*>(staging.data()) +
           half * (staging.size_bytes() / 2 / static_cast<std::int64_t>(sizeof(float)));
  };
  float* own = staging_of(rank_);
  for (std::int64_t row = 0; row < x.rows; ++row) {
    std::memcpy(own + row * x.columns, x.row(row),
                static_cast<std::size_t>(x.columns) * sizeof(float));
  }
  signal();
  TANDEM_TRY_STATUS(wait_for_all(true));
  for (std::int64_t row = 0; row < x.rows; ++row) {
    add_in_order(x.row(row), x.columns, size(),
                 [&](int rank) { return staging_of(rank) + row * x.columns; });
  }
  return {};
}

}  // namespace tandem
