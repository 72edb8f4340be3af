#include "comm/cuda/copy_rows.h"
#include "comm/cuda/cuda_communicator.h"
#include "device/cuda/cuda_error.h"

namespace tandem::cuda {
namespace {

constexpr auto kFloatBytes = static_cast<std::int64_t>(sizeof(float));

}  // namespace

// Every rank sends to its right neighbour alone, piece after piece, by its copy engine. The sum of
// a piece grows from rank 0 to the last rank and is spread from there on, round the ring, to the
// last but one: two bytes a byte over each link, where a ring whose sums begin everywhere needs 2
// (P - 1) / P. For that the order of additions is that of one-shot and two-shot, so that a token's
// bits do not depend on how many tokens are reduced with it.
//
// All of a rank's work stands in one stream, in which a wait holds up everything behind it: a piece
// is spread P pieces after it was summed, when the sum has come round. With S slots a ring, the
// piece that the last rank sums waits for what rank 0 spreads S pieces before, which waits, by way
// of all ranks, for what the last rank summed at most S P - P pieces before that: no cycle.
Status CudaCommunicator::reduce_ring(const Lane& lane, MatrixView x) {
  std::vector<MatrixView> pieces;
  (void)for_parts(x, InboxLayout::kRingPieceBytes / kFloatBytes, [&](MatrixView part) -> Status {
    pieces.push_back(part);
    return {};
  });
  const auto lag = static_cast<std::size_t>(size());
  for (std::size_t i = 0; i < pieces.size() + lag; ++i) {
    if (i < pieces.size()) TANDEM_TRY_STATUS(grow_sum(lane, pieces[i]));
    if (i >= lag) TANDEM_TRY_STATUS(spread_sum(lane, pieces[i - lag]));
  }
  return {};
}

Status CudaCommunicator::await(const Lane& lane, int flag, std::int64_t count, int peer) {
  return status_of(await_flag(lane.stream, seats_.flags[rank()] + flag,
                              static_cast<std::uint32_t>(count), peer, lane.terms),
                   "cannot start a wait");
}

// Adds this rank's part to what the left neighbour sent, and passes it on.
Status CudaCommunicator::grow_sum(const Lane& lane, const MatrixView& piece) {
  const std::int64_t number = pieces_grown_++;
  const int left = rank() - 1;
  if (left >= 0) {
    const std::byte* slot = seats_.inboxes[rank()] + memory_->layout().ring_slot(0, number);
    TANDEM_TRY_STATUS(await(lane, kArrivedAt, number + 1, left));
    TANDEM_CUDA_TRY(add_slot(lane.stream, piece, reinterpret_cast<const float*>(slot)),
                    "cannot start an addition");
    TANDEM_CUDA_TRY(raise_flag(lane.stream, seats_.flags[left] + kTakenAt,
                               static_cast<std::uint32_t>(number + 1)),
                    "cannot raise a flag");
  }
  return send_piece(lane, rank() == size() - 1 ? 1 : 0, number, piece);
}

Status CudaCommunicator::spread_sum(const Lane& lane, const MatrixView& piece) {
  const std::int64_t number = pieces_spread_++;
  if (rank() == size() - 1) return {};  // it made the sum
  const int left = (rank() + size() - 1) % size();
  std::byte* slot = seats_.inboxes[rank()] + memory_->layout().ring_slot(1, number);
  TANDEM_TRY_STATUS(await(lane, kArrivedAt + 1, number + 1, left));
  TANDEM_CUDA_TRY(copy_rows(lane.stream, piece,
                            dense(reinterpret_cast<float*>(slot), piece.rows, piece.columns)),
                  "cannot copy a sum");
  TANDEM_CUDA_TRY(raise_flag(lane.stream, seats_.flags[left] + kTakenAt + 1,
                             static_cast<std::uint32_t>(number + 1)),
                  "cannot raise a flag");
  return rank() + 1 < size() - 1 ? send_piece(lane, 1, number, piece) : Status();
}

Status CudaCommunicator::send_piece(const Lane& lane, int ring, std::int64_t number,
                                    const MatrixView& piece) {
  const int right = (rank() + 1) % size();
  if (number >= InboxLayout::kRingSlots) {
    TANDEM_TRY_STATUS(await(lane, kTakenAt + ring, number + 1 - InboxLayout::kRingSlots, right));
  }
  std::byte* slot = seats_.inboxes[right] + memory_->layout().ring_slot(ring, number);
  TANDEM_CUDA_TRY(
      copy_rows(lane.stream, dense(reinterpret_cast<float*>(slot), piece.rows, piece.columns),
                piece),
      "cannot send to another GPU");
  return status_of(raise_flag(lane.stream, seats_.flags[right] + kArrivedAt + ring,
                              static_cast<std::uint32_t>(number + 1)),
                   "cannot raise a flag");
}

}  // namespace tandem::cuda
