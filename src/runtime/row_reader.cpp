#include "runtime/row_reader.h"

#include <algorithm>
#include <vector>

namespace tandem {
namespace {

// Large enough that a system call costs little beside the copy, small enough for the L2 cache.
constexpr std::int64_t kPieceBytes = 256 * 1024;
// Devices take so many rows at a time, each such run on one of their threads.
constexpr std::int64_t kRunRows = 64;

struct Piece {
  std::uint64_t reader = 0;
  std::int64_t begin = 0;  // rows of the tensor
  std::int64_t end = 0;
  std::vector<std::byte> bytes;
};
thread_local Piece piece;

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

RowReader::RowReader(const GgufFile& file, std::span<const std::byte> tensor, const Shape& shape)
    : file_(file), tensor_(tensor), shape_(shape), id_(next_id()) {}

std::span<const std::byte> RowReader::row(std::int64_t first_row, std::int64_t row) {
  const std::int64_t at = first_row + row;
  if (piece.reader != id_ || at < piece.begin || at >= piece.end) {
    // Whole rows, where little of them is left out.
    const bool narrow = shape_.part_bytes < shape_.row_bytes / 4;
    const std::int64_t fit = narrow ? 1 : std::max<std::int64_t>(1, kPieceBytes / shape_.row_bytes);
    const std::int64_t count = std::min({fit, kRunRows - row % kRunRows, shape_.num_rows - row});
    const std::int64_t bytes = (count - 1) * shape_.row_bytes + shape_.part_bytes;
    piece.bytes.resize(static_cast<std::size_t>(bytes));
    piece.reader = id_;
    piece.begin = at;
    piece.end = at + count;
    const auto range = tensor_.subspan(
        static_cast<std::size_t>(at * shape_.row_bytes + shape_.part_begin), piece.bytes.size());
    if (Status read = file_.copy_bytes(range, piece.bytes); !read.ok()) {
      const std::lock_guard lock(mutex_);
      if (status_.ok()) status_ = std::move(read);
    }
  }
  return std::span<const std::byte>(piece.bytes)
      .subspan(static_cast<std::size_t>((at - piece.begin) * shape_.row_bytes),
               static_cast<std::size_t>(shape_.part_bytes));
}

Status RowReader::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace tandem
