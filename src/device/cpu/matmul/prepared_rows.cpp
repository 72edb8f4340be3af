#include "device/cpu/matmul/prepared_rows.h"

#include "base/checked.h"
#include "tensor/half.h"

namespace tandem {
namespace {

// Fewer rows of x than this are prepared by the calling thread: waking the others takes longer.
constexpr std::int64_t kParallelRows = 4;

template <typename Vector>
void grow(Vector& memory, std::int64_t size) {
  if (memory.size() < static_cast<std::size_t>(size)) memory.resize(static_cast<std::size_t>(size));
}

}  // namespace

void PreparedRows::reset(MatrixView x) {
  x_ = x;
  num_chunks_ = ceil_div<std::int64_t>(x.columns, kChunkColumns);
  is_rounded_ = false;
  is_bf16_ = false;
  num_starts_ = 0;
}

template <typename Body>
void PreparedRows::for_rows(Body body) {
  if (x_.rows < kParallelRows || pool_.size() == 1) {
    for (std::int64_t row = 0; row < x_.rows; ++row) body(row);
    return;
  }
  pool_.parallel([&](int thread) {
    const std::int64_t begin = x_.rows * thread / pool_.size();
    const std::int64_t end = x_.rows * (thread + 1) / pool_.size();
    for (std::int64_t row = begin; row < end; ++row) body(row);
  });
}

void PreparedRows::round_rows() {
  if (is_rounded_) return;
  is_rounded_ = true;
  grow(chunks_, x_.rows * num_chunks_);
  for_rows([&](std::int64_t row) {
    kernels_.round_row(x_.row(row), x_.columns, x_.rows, chunks_.data() + row);
  });
}

int PreparedRows::round_for(const PackedTraits& traits) {
  round_rows();
  const int offset = kernels_.subtracts_offset(traits) ? traits.level_offset : 0;
  for (std::size_t i = 0; i < num_starts_; ++i) {
    if (starts_[i].level_offset == offset && starts_[i].sub_block == traits.sub_block &&
        starts_[i].with_sums == traits.has_min()) {
      return static_cast<int>(i);
    }
  }
  if (num_starts_ == starts_.size()) starts_.emplace_back();
  Starts& added = starts_[num_starts_];
  added.level_offset = offset;
  added.sub_block = traits.sub_block;
  added.with_sums = traits.has_min();
  grow(added.chunks, x_.rows * num_chunks_);
  for_rows([&](std::int64_t row) {
    for (std::int64_t at = row; at < x_.rows * num_chunks_; at += x_.rows) {
      if (added.with_sums) sum_blocks(added.sub_block, chunks_.data()[at]);
      sum_starts(chunks_.data()[at], offset, added.sub_block, added.chunks.data()[at]);
    }
  });
  return static_cast<int>(num_starts_++);
}

RoundedRow PreparedRows::rounded_row(int starts_index, std::int64_t row) const {
  const Starts& starts = starts_[static_cast<std::size_t>(starts_index)];
  return {chunks_.data() + row, starts.chunks.data() + row, x_.rows};
}

void PreparedRows::convert_to_bf16() {
  if (is_bf16_) return;
  is_bf16_ = true;
  const std::int64_t padded = align_up<std::int64_t>(x_.columns, 2);
  grow(bf16_, x_.rows * padded);
  for_rows([&](std::int64_t row) {
    std::uint16_t* out = bf16_.data() + row * padded;
    if (padded != x_.columns) out[padded - 1] = 0;
    for (std::int64_t i = 0; i < x_.columns; ++i) out[i] = bf16_from_float(x_.row(row)[i]);
  });
}

const std::uint16_t* PreparedRows::bf16_row(std::int64_t row) const {
  return bf16_.data() + row * align_up<std::int64_t>(x_.columns, 2);
}

}  // namespace tandem
