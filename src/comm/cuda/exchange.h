#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/cuda/cuda_group.h"
#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// What the kernels of a group share: every rank has an inbox, into which others write, and flags by
// which they say so. Both lie in the memory of the rank's GPU (peer access) or in page-locked
// memory of the host; kernels do not know which, but that in host memory what is for all is written
// once.

inline constexpr int kMaxRanks = 32;   // their addresses are arguments of kernels
inline constexpr int kMaxBlocks = 32;  // of a reduction's kernel; each block meets its counterparts

// Flags of a rank, all counters that only grow:
//   meetings [kNumMeetings][rank][block]: the collective in which that block of `rank` came so far
//   arrived  [kNumRings]: pieces that the left neighbour has written into the ring's slots
//   taken    [kNumRings]: pieces that the right neighbour has taken out of its slots
inline constexpr int kNumMeetings = 2;
inline constexpr int kNumRings = 2;  // one carries sums that grow, one the finished ones
inline constexpr int kArrivedAt = kNumMeetings * kMaxRanks * kMaxBlocks;
inline constexpr int kTakenAt = kArrivedAt + kNumRings;
inline constexpr int kNumFlags = kTakenAt + kNumRings;

struct Seats {
  std::byte* inboxes[kMaxRanks];
  std::uint32_t* flags[kMaxRanks];
  int size = 0;
  int rank = 0;  // whose kernel it is
  bool in_host_memory = false;
};

// In page-locked memory; written by the rank's kernels, read by its thread behind them.
struct RankReport {
  std::uint32_t failed = 0;     // 1: a wait ended by its deadline, 2: by abort()
  std::uint32_t late_rank = 0;  // which was waited for
  std::uint64_t wait_ns = 0;
  std::uint64_t move_ns = 0;
};
inline constexpr std::uint32_t kFailedByDeadline = 1;
inline constexpr std::uint32_t kFailedByAbort = 2;

// How long a kernel waits. `abort`: of the whole group, in page-locked memory; not zero ends every
// wait. A wait that has failed sets it, so that nobody waits for the ranks that gave up.
struct WaitTerms {
  std::uint32_t* abort = nullptr;
  RankReport* report = nullptr;
  std::uint64_t* times_ns = nullptr;  // [2] in the GPU's memory: what the report gets
  std::uint64_t deadline_ns = 0;
  std::uint64_t delay_ns = 0;  // a fault: between what was written and the flag that says so
  // The kernel runs beside the rank's arithmetic: its times are nobody's loss, and not reported.
  bool is_beside = false;
};

// A matrix of float32 as units of one or four numbers that lie together. How it is cut depends on
// its shape alone, which is the same on every rank; strides and alignment may differ.
struct Units {
  float* data = nullptr;
  std::int32_t per_row = 0;     // units
  std::int32_t row_stride = 0;  // floats
  std::int32_t count = 0;       // units of the whole matrix
  bool is_aligned = false;      // units of four lie at multiples of 16 bytes
};

struct ReduceCall {
  Units x;
  Seats seats;
  WaitTerms terms;
  std::uint32_t sequence = 0;     // of the collective, the same on every rank
  std::int64_t inbox_offset = 0;  // where in the inboxes this collective writes; bytes
  std::int64_t slot_bytes = 0;    // between what two ranks write
};

// Sums x over the group, in place, added in the order of ranks; every rank gets the same bits.
// One-shot: each rank writes all it has to all inboxes, [rank] slots of x.count units.
// unit: floats of a unit, 1 or 4.
cudaError_t reduce_one_shot(cudaStream_t stream, WireType wire, int unit, const ReduceCall& call);
// Two-shot: rank r sums chunk r of everybody's and writes the sum to all. Twice [rank] slots of a
// chunk, chunk_units(x.count, size) units each.
cudaError_t reduce_two_shot(cudaStream_t stream, WireType wire, int unit, const ReduceCall& call);

__host__ __device__ inline std::int32_t chunk_units(std::int32_t count, int size) {
  return (count + size - 1) / size;
}

// Columns of one rank in a matrix of everybody's.
struct GatherCall {
  float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t begin = 0, end = 0;      // of a rank's own numbers, row after row, that travel now
  std::int32_t offsets[kMaxRanks + 1];  // rank r holds columns [offsets[r], offsets[r + 1])
  std::int32_t rows = 0;
  Seats seats;
  WaitTerms terms;
  std::uint32_t sequence = 0;
  std::int64_t inbox_offset = 0;
  std::int64_t slot_bytes = 0;
};
cudaError_t gather_columns(cudaStream_t stream, const GatherCall& call);

// For what copy engines move. Stream-ordered: flag = value once everything before is done, and a
// kernel that ends when *flag has reached `value` (or the terms end the wait).
cudaError_t raise_flag(cudaStream_t stream, std::uint32_t* flag, std::uint32_t value);
cudaError_t await_flag(cudaStream_t stream, const std::uint32_t* flag, std::uint32_t value,
                       int peer, const WaitTerms& terms);
// x = slot + x. slot: [x.rows, x.columns], dense.
cudaError_t add_slot(cudaStream_t stream, const MatrixView& x, const float* slot);

}  // namespace tandem::cuda
