#pragma once

#include <cstdint>
#include <new>
#include <vector>

#include "device/cpu/host_memory.h"
#include "device/cpu/instruction_set.h"
#include "device/cpu/simd/kernels.h"
#include "device/cpu/thread_pool.h"

namespace tandem {

// What every op of a CPU stream works with.
struct CpuContext {
  ThreadPool& pool;
  const Kernels& kernels;
  // Memory of the op that runs; both grow to the largest op and then stay.
  HostMemory scratch = {};
  std::vector<AttentionWork> attention_work = {};
  std::vector<std::span<const AttentionWork>> attention_bundles = {};

  // [count] floats, 64-byte aligned, with any contents, until the next call. Throws bad_alloc.
  float* scratch_floats(std::int64_t count) {
    const auto bytes = count * static_cast<std::int64_t>(sizeof(float));
    if (bytes > scratch.size_bytes()) {
      Result<HostMemory> grown = HostMemory::allocate(bytes);
      if (!grown.ok()) throw std::bad_alloc();
      scratch = std::move(grown).value();
    }
    return static_cast<float*>(scratch.data());
  }
};

// Work of less than about this many simple element operations is done by the calling thread: to
// wake and await the others costs about a microsecond.
inline constexpr std::int64_t kSerialElements = 16 * 1024;

// Calls body(part, begin, end) for parts of [0, count), each item in one part; parts are numbered
// below pool.size(). They run on the threads of the pool in no order, as one on the caller where
// all items together are little work. elements_per_item: about how many element operations one item
// takes.
template <typename F>
void for_parts(CpuContext& context, std::int64_t count, std::int64_t elements_per_item, F&& body) {
  if (count <= 0) return;
  const std::int64_t threads = context.pool.size();
  if (threads == 1 || count == 1 || count * elements_per_item <= kSerialElements) {
    body(0, std::int64_t{0}, count);
    return;
  }
  context.pool.parallel([&](int thread) {
    const std::int64_t begin = count * thread / threads;
    const std::int64_t end = count * (thread + 1) / threads;
    if (begin < end) body(thread, begin, end);
  });
}

// The same for a body(begin, end).
template <typename F>
void for_range(CpuContext& context, std::int64_t count, std::int64_t elements_per_item, F&& body) {
  for_parts(context, count, elements_per_item,
            [&](int, std::int64_t begin, std::int64_t end) { body(begin, end); });
}

// For element-wise ops: calls body(row, first column, number of columns) for pieces of rows, so
// that one long row is shared too. Pieces begin at whole vectors.
template <typename F>
void for_pieces(CpuContext& context, std::int64_t rows, std::int64_t columns,
                std::int64_t work_per_element, F&& body) {
  constexpr std::int64_t kPiece = 4096;
  if (rows <= 0 || columns <= 0) return;
  const std::int64_t pieces = (columns + kPiece - 1) / kPiece;
  const std::int64_t piece_columns = columns < kPiece ? columns : kPiece;
  for_range(context, rows * pieces, piece_columns * work_per_element,
            [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) {
                const std::int64_t first = i % pieces * kPiece;
                const std::int64_t rest = columns - first;
                body(i / pieces, first, rest < kPiece ? rest : kPiece);
              }
            });
}

}  // namespace tandem
