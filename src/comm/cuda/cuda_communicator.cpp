#include "comm/cuda/cuda_communicator.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/checked.h"
#include "comm/cuda/copy_rows.h"
#include "device/cuda/cuda_error.h"

namespace tandem::cuda {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr auto kFloatBytes = static_cast<std::int64_t>(sizeof(float));
// Until somebody measures: each rank writes (P - 1) * bytes in one shot, and waits twice in two.
constexpr std::int64_t kUsualOneShotWritten = std::int64_t{128} << 10;
constexpr std::int64_t kUsualRingBytes = std::int64_t{4} << 20;

// By the shape alone: every rank must cut alike.
int unit_of(const MatrixView& x) {
  return x.columns % 4 == 0 ? 4 : 1;
}

Units units_of(const MatrixView& x) {
  const int unit = unit_of(x);
  Units units;
  units.data = x.data;
  units.per_row = static_cast<std::int32_t>(x.columns / unit);
  units.row_stride = static_cast<std::int32_t>(x.row_stride);
  units.count = static_cast<std::int32_t>(x.rows) * units.per_row;
  units.is_aligned = x.row_stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
  return units;
}

}  // namespace

Crossovers usual_crossovers(const InboxLayout& layout, ReduceAlgorithm algorithm) {
  const std::int64_t num_peers =
      std::max<std::int64_t>(1, InboxLayout::kOneShotTotalBytes / layout.one_shot_bytes - 1);
  switch (algorithm) {
    case ReduceAlgorithm::kOneShot:
      return {kNever, kNever};
    case ReduceAlgorithm::kTwoShot:
      return {0, kNever};
    case ReduceAlgorithm::kRing:
      return {0, 0};
    case ReduceAlgorithm::kAuto:
      break;
  }
  return {std::min(layout.one_shot_bytes, kUsualOneShotWritten / num_peers) + 1, kUsualRingBytes};
}

CudaCommunicator::CudaCommunicator(std::shared_ptr<GroupMemory> memory,
                                   std::unique_ptr<Communicator> host,
                                   std::shared_ptr<LargeReduce> large,
                                   const CudaGroupOptions& options, const Crossovers& crossovers)
    : memory_(std::move(memory)),
      host_(std::move(host)),
      large_(std::move(large)),
      options_(options),
      crossovers_(crossovers),
      seats_(memory_->seats_of(host_->rank())),
      terms_(memory_->terms_of(host_->rank(), options)) {}

CudaCommunicator::~CudaCommunicator() {
  abort(Error{
      ErrorCode::kPeerLost, "rank " + std::to_string(rank()) + " left the group", {}, {}, {}});
}

Result<CudaCommunicator::Lane> CudaCommunicator::begin(Stream& stream) {
  if (auto failure = memory_->failure()) return *failure;
  CudaStream& queue = cuda_stream_of(stream);
  if (queue.poison()) {
    abort(*queue.poison());
    return *queue.poison();
  }
  if (queue.checked_by() != this) {
    queue.set_check(this, [memory = memory_, rank = rank()] { return memory->check(rank); });
  }
  TANDEM_CUDA_TRY(cudaSetDevice(queue.context().gpu.index), "cannot use the GPU");
  return Lane{queue.context().stream, terms_};
}

Status CudaCommunicator::all_reduce_sum(Stream& stream, MatrixView x) {
  TANDEM_TRY(const Lane lane, begin(stream));
  TANDEM_CHECK(side_ == nullptr || side_->num_open() == 0, "sums are awaited before a collective");
  ++stats_.num_reductions;
  if (size() == 1 || x.rows == 0 || x.columns == 0) return {};
  Status status = reduce(lane, x);
  if (!status.ok()) abort(status.error());
  return status;
}

void CudaCommunicator::overlap_on(std::unique_ptr<SideStream> side, const OverlapTerms& terms) {
  side_ = std::move(side);
  overlap_ = terms;
}

std::int64_t CudaCommunicator::rows_at_once(const MatrixView& x) const {
  if (side_ == nullptr || x.rows == 0 || x.columns == 0) return x.rows;
  const std::int64_t rows = overlapped_rows(x.rows, x.columns, overlap_);
  const std::int64_t last = x.rows - (ceil_div(x.rows, rows) - 1) * rows;
  // Narrow wires round more often in two shots than in one.
  const auto is_one_shot = [&](std::int64_t count) {
    return count * x.columns * kFloatBytes < crossovers_.two_shot;
  };
  const bool rounds_alike =
      options_.wire == WireType::kF32 || is_one_shot(std::min(rows, last)) == is_one_shot(x.rows);
  return rounds_alike ? rows : x.rows;
}

// The order among collectives is that of the calls on every rank: a sum on the side stream begins
// behind what the stream was given before, and other collectives behind the sums that were awaited.
Status CudaCommunicator::begin_sum(Stream& stream, MatrixView part) {
  TANDEM_TRY(const Lane lane, begin(stream));
  TANDEM_CHECK(side_ != nullptr, "the group said that it overlaps");
  ++stats_.num_reductions;
  Status status = side_->begin(lane.stream);
  const WaitTerms terms = memory_->terms_of(rank(), options_, true);
  if (status.ok()) status = reduce({side_->stream(), terms}, part);
  if (status.ok()) status = side_->end();
  if (!status.ok()) abort(status.error());
  return status;
}

Status CudaCommunicator::await_sum(Stream& stream) {
  TANDEM_TRY(const Lane lane, begin(stream));
  Status status = side_->await(lane.stream);
  if (!status.ok()) abort(status.error());
  return status;
}

Status CudaCommunicator::reduce(const Lane& lane, MatrixView x) {
  const std::int64_t bytes = x.rows * x.columns * kFloatBytes;
  const bool one_shot = bytes < crossovers_.two_shot;
  stats_.sent_bytes += one_shot ? (size() - 1) * bytes : 2 * (size() - 1) * bytes / size();
  // A sum that is rounded at every hop would be worse than two-shot's; NCCL and copy engines move
  // float32 alone.
  if (bytes >= crossovers_.ring && options_.wire == WireType::kF32) {
    return large_ != nullptr ? reduce_by_library(lane, x) : reduce_ring(lane, x);
  }
  const std::int64_t most =
      one_shot ? memory_->layout().one_shot_bytes : InboxLayout::kTwoShotBytes;
  return for_parts(x, most / kFloatBytes,
                   [&](MatrixView part) { return reduce_by_kernel(lane, part, one_shot); });
}

// Other ranks may hold the same matrix with other strides, so that none may go another way for its
// own: what is not dense is made so.
Status CudaCommunicator::reduce_by_library(const Lane& lane, const MatrixView& x) {
  if (x.row_stride == x.columns || x.rows == 1) {
    return large_->all_reduce_sum(rank(), lane.stream, x);
  }
  TANDEM_TRY(float* const memory, dense_copy_.at_least(x.rows * x.columns));
  const MatrixView copy = dense(memory, x.rows, x.columns);
  TANDEM_CUDA_TRY(copy_rows(lane.stream, copy, x), "cannot copy a part");
  TANDEM_TRY_STATUS(large_->all_reduce_sum(rank(), lane.stream, copy));
  return status_of(copy_rows(lane.stream, x, copy), "cannot copy a sum");
}

Status CudaCommunicator::reduce_by_kernel(const Lane& lane, MatrixView piece, bool one_shot) {
  const InboxLayout& layout = memory_->layout();
  ReduceCall call;
  call.x = units_of(piece);
  call.seats = seats_;
  call.terms = lane.terms;
  call.sequence = ++sequence_;
  call.inbox_offset = next_half();
  call.slot_bytes = one_shot ? layout.one_shot_slot_bytes : layout.two_shot_slot_bytes;
  const auto start = one_shot ? reduce_one_shot : reduce_two_shot;
  return status_of(start(lane.stream, options_.wire, unit_of(piece), call),
                   "cannot start a reduction");
}

Status CudaCommunicator::all_gather_columns(Stream& stream, MatrixView x,
                                            const std::vector<std::int64_t>& offsets) {
  TANDEM_CHECK(static_cast<int>(offsets.size()) == size() + 1 && offsets.front() == 0 &&
                   offsets.back() == x.columns,
               "offsets cut the columns among the ranks");
  TANDEM_TRY(const Lane lane, begin(stream));
  TANDEM_CHECK(side_ == nullptr || side_->num_open() == 0, "sums are awaited before a collective");
  ++stats_.num_transfers;
  if (size() == 1 || x.rows == 0 || x.columns == 0) return {};
  GatherCall call;
  call.data = x.data;
  call.row_stride = x.row_stride;
  call.rows = static_cast<std::int32_t>(x.rows);
  std::int64_t widest = 0;
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    call.offsets[i] = static_cast<std::int32_t>(offsets[i]);
    if (i > 0) widest = std::max(widest, offsets[i] - offsets[i - 1]);
  }
  call.seats = seats_;
  call.terms = lane.terms;
  call.slot_bytes = memory_->layout().one_shot_slot_bytes;
  const std::int64_t most = memory_->layout().one_shot_bytes / kFloatBytes;
  for (call.begin = 0; call.begin < x.rows * widest; call.begin = call.end) {
    call.end = std::min(call.begin + most, x.rows * widest);
    call.sequence = ++sequence_;
    call.inbox_offset = next_half();
    TANDEM_CUDA_TRY(gather_columns(lane.stream, call), "cannot start a gathering");
  }
  stats_.sent_bytes +=
      (size() - 1) * x.rows * kFloatBytes * (call.offsets[rank() + 1] - call.offsets[rank()]);
  return {};
}

Status CudaCommunicator::barrier() {
  if (auto failure = memory_->failure()) return *failure;
  return host_->barrier();
}

void CudaCommunicator::abort(const Error& reason) {
  memory_->fail(peer_lost(reason));
  host_->abort(reason);
  if (large_ != nullptr) large_->abort();
}

const CommStats& CudaCommunicator::stats() const {
  const volatile RankReport& report = memory_->report_of(rank());
  stats_.wait_seconds = 1e-9 * static_cast<double>(report.wait_ns - wait_ns_at_reset_);
  if (side_ != nullptr) stood_still_seconds_ += side_->take_stood_still_seconds();
  stats_.move_seconds =
      1e-9 * static_cast<double>(report.move_ns - move_ns_at_reset_) + stood_still_seconds_;
  return stats_;
}

void CudaCommunicator::reset_stats() {
  const volatile RankReport& report = memory_->report_of(rank());
  wait_ns_at_reset_ = report.wait_ns;
  move_ns_at_reset_ = report.move_ns;
  if (side_ != nullptr) (void)side_->take_stood_still_seconds();
  stood_still_seconds_ = 0;
  stats_ = {};
}

}  // namespace tandem::cuda
