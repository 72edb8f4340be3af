#include <algorithm>
#include <limits>

#include "base/check.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {
namespace {

// What is not a number is worse than every number.
float ranked(float x) {
  return x == x ? x : -std::numeric_limits<float>::infinity();
}

// The k best so far, as a heap with the worst on top: values and indices run in parallel.
class BestHeap {
 public:
  BestHeap(float* values, std::int32_t* indices) : values_(values), indices_(indices) {}

  // Indices come in ascending order, so that a later one never displaces an equal value.
  void push(float value, std::int32_t index) {
    std::int32_t child = size_++;
    while (child > 0 && worse(value, index, (child - 1) / 2)) {
      move((child - 1) / 2, child);
      child = (child - 1) / 2;
    }
    place(value, index, child);
  }
  void replace_worst(float value, std::int32_t index) { sink(value, index); }
  float worst() const { return values_[0]; }

  // Best first.
  void sort() {
    while (size_ > 1) {
      const float value = values_[0];
      const std::int32_t index = indices_[0];
      --size_;
      sink(values_[size_], indices_[size_]);
      place(value, index, size_);
    }
  }

 private:
  bool worse(float value, std::int32_t index, std::int32_t than) const {
    return value < values_[than] || (value == values_[than] && index > indices_[than]);
  }
  void place(float value, std::int32_t index, std::int32_t at) {
    values_[at] = value;
    indices_[at] = index;
  }
  void move(std::int32_t from, std::int32_t to) { place(values_[from], indices_[from], to); }

  // Puts the entry at the top and lets it sink to its place.
  void sink(float value, std::int32_t index) {
    std::int32_t parent = 0;
    for (;;) {
      std::int32_t child = 2 * parent + 1;
      if (child >= size_) break;
      if (child + 1 < size_ && worse(values_[child + 1], indices_[child + 1], child)) ++child;
      if (worse(value, index, child)) break;
      move(child, parent);
      parent = child;
    }
    place(value, index, parent);
  }

  float* values_;
  std::int32_t* indices_;
  std::int32_t size_ = 0;
};

void top_k_of_row(const Kernels& kernels, const float* x, std::int64_t n, std::int32_t k,
                  float* values, std::int32_t* indices) {
  BestHeap heap(values, indices);
  for (std::int32_t i = 0; i < k; ++i) heap.push(ranked(x[i]), i);
  std::int64_t i = kernels.find_above(x, k, n, heap.worst());
  while (i < n) {
    heap.replace_worst(x[i], static_cast<std::int32_t>(i));
    i = kernels.find_above(x, i + 1, n, heap.worst());
  }
  heap.sort();
}

}  // namespace

void top_k(CpuContext& context, MatrixView x, std::int32_t k, float* values,
           std::int32_t* indices) {
  if (x.rows == 0 || k == 0) return;
  TANDEM_CHECK(k > 0 && k <= x.columns, "no more results than columns");
  TANDEM_CHECK(x.columns <= std::numeric_limits<std::int32_t>::max(), "indices are 32 bits");
  for_range(context, x.rows, x.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      top_k_of_row(context.kernels, x.row(i), x.columns, k, values + i * k, indices + i * k);
    }
  });
}

}  // namespace tandem::cpu_ops
