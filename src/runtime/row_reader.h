#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "gguf/gguf_file.h"

namespace tandem {

// Part of the rows of a tensor, read from its file in pieces of many rows: what a WeightSource
// delivers. Thread-safe; each thread has a piece of its own.
class RowReader {
 public:
  struct Shape {
    std::int64_t row_bytes = 0;   // of the tensor
    std::int64_t part_begin = 0;  // of every row, in bytes
    std::int64_t part_bytes = 0;
    std::int64_t num_rows = 0;  // that follow each other and are asked for in order
  };
  // `tensor`: the data of a tensor of `file`, which must outlive this.
  RowReader(const GgufFile& file, std::span<const std::byte> tensor, const Shape& shape);

  // Row `row` of those that begin at the tensor's row `first_row`. Valid until this thread's next
  // call. After a failure, which status() tells, the bytes are any.
  std::span<const std::byte> row(std::int64_t first_row, std::int64_t row);

  // The first failure to read.
  Status status() const;

 private:
  const GgufFile& file_;
  std::span<const std::byte> tensor_;
  Shape shape_;
  std::uint64_t id_;  // tells this reader's pieces from others'
  mutable std::mutex mutex_;
  Status status_;
};

}  // namespace tandem
