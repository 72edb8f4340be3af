#pragma once

#include <cstdint>

#include "base/result.h"
#include "device/device.h"

namespace tandem {

// What a Communicator may be besides: one that sums beside its rank's arithmetic. A matrix is then
// computed in parts of rows, and while the stream computes one, those before are being summed. Ask
// with dynamic_cast.
class Overlapping {
 public:
  virtual ~Overlapping() = default;
  // In parts of how many rows (the last of which takes what is left) x is best computed and summed;
  // x.rows or more: as a whole. Depends on the shape alone, so that every rank does the same. The
  // sums are those of the whole, and so are products that are computed in such parts, bit by bit.
  virtual std::int64_t rows_at_once(const MatrixView& x) const = 0;
  // As Communicator::all_reduce_sum() of a part, but the stream goes on beside it: only what comes
  // behind await_sum() may touch the part. Every rank begins the same parts in the same order.
  virtual Status begin_sum(Stream& stream, MatrixView part) = 0;
  // Stream-ordered: what follows on the stream begins once the oldest sum that was not awaited is
  // done. All are awaited before the group's next collective, and before the stream's recording
  // ends. Errors are those of the group.
  virtual Status await_sum(Stream& stream) = 0;
};

// Calls body(first row, number of rows) for the parts of `rows` rows. rows_at_once: more than 0
// where there are rows. body returns a Status; the first error ends it.
template <typename Body>
Status for_row_parts(std::int64_t rows, std::int64_t rows_at_once, Body&& body) {
  for (std::int64_t first = 0; first < rows;) {
    const std::int64_t left = rows - first;
    const std::int64_t count = left < rows_at_once ? left : rows_at_once;
    TANDEM_TRY_STATUS(body(first, count));
    first += count;
  }
  return {};
}

}  // namespace tandem
