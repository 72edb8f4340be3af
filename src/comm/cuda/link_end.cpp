#include "comm/cuda/link_end.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "comm/cuda/copy_rows.h"
#include "comm/cuda/gpu_of_device.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/stream_wait.h"

namespace tandem::cuda {
namespace {

// Between looks at whether the link has failed meanwhile.
constexpr std::int64_t kLookUs = 20'000;

Status wait_for(cudaEvent_t event, std::int64_t deadline_us, const std::string& device_id,
                const SharedFailure& failure) {
  const std::int64_t began = monotonic_us();
  for (;;) {
    const std::int64_t left = deadline_us - (monotonic_us() - began);
    Status status = wait_for_event(event, std::clamp<std::int64_t>(left, 0, kLookUs), device_id);
    if (status.ok() || status.error().code != ErrorCode::kDeadline || left <= kLookUs) {
      return status;
    }
    if (const auto failed = failure.get()) return *failed;
  }
}

double seconds_since(std::int64_t began_ns) {
  return 1e-9 * static_cast<double>(monotonic_ns() - began_ns);
}

}  // namespace

LinkEnd::~LinkEnd() {
  for (cudaEvent_t event : done_) (void)cudaEventDestroy(event);
}

Status LinkEnd::open(Device& device, int num_slots) {
  device_id_ = device.info().id;
  if (device.info().kind != DeviceKind::kCuda) return {};
  gpu_ = gpu_of_device(device).index;
  TANDEM_CUDA_TRY(cudaSetDevice(gpu_), "cannot use the GPU");
  for (int slot = 0; slot < num_slots; ++slot) {
    cudaEvent_t event = nullptr;
    TANDEM_CUDA_TRY(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
                    "cannot make an event");
    done_.push_back(event);
  }
  return {};
}

Status LinkEnd::begin(Stream& stream, std::int64_t deadline_us) {
  if (!is_gpu()) return stream.synchronize(deadline_us);
  CudaStream& queue = cuda_stream_of(stream);
  if (queue.poison()) return *queue.poison();
  stream_ = queue.context().stream;
  return status_of(cudaSetDevice(gpu_), "cannot use the GPU");
}

Status LinkEnd::follow(LinkEnd& other, std::size_t slot, std::int64_t deadline_us,
                       const SharedFailure& failure) {
  if (!other.is_gpu()) return {};
  if (!is_gpu()) {
    const std::int64_t began = monotonic_ns();
    Status status = wait_for(other.done_[slot], deadline_us, other.device_id_, failure);
    stats_.wait_seconds += seconds_since(began);
    return status;
  }
  TANDEM_TRY_STATUS(waits_.begin(stream_));
  TANDEM_CUDA_TRY(cudaStreamWaitEvent(stream_, other.done_[slot], 0),
                  "cannot wait for another GPU");
  return waits_.end(stream_);
}

Status LinkEnd::copy(const MatrixView& to, const MatrixView& from) {
  if (is_gpu()) {
    TANDEM_TRY_STATUS(moves_.begin(stream_));
    TANDEM_CUDA_TRY(copy_rows(stream_, to, from), "cannot copy hidden states");
    return moves_.end(stream_);
  }
  const std::int64_t began = monotonic_ns();
  const auto row_bytes = static_cast<std::size_t>(from.columns) * sizeof(float);
  for (std::int64_t row = 0; row_bytes > 0 && row < from.rows; ++row) {
    std::memcpy(to.row(row), from.row(row), row_bytes);
  }
  stats_.move_seconds += seconds_since(began);
  return {};
}

Status LinkEnd::finish(std::size_t slot, std::int64_t bytes) {
  if (is_gpu()) TANDEM_CUDA_TRY(cudaEventRecord(done_[slot], stream_), "cannot record an event");
  stats_.sent_bytes += bytes;
  ++stats_.num_transfers;
  ++num_messages_;
  calls.advance();
  return {};
}

Status LinkEnd::wait_until_done(std::size_t slot, std::int64_t deadline_us,
                                const SharedFailure& failure) {
  return is_gpu() ? wait_for(done_[slot], deadline_us, device_id_, failure) : Status();
}

CommStats LinkEnd::take_stats() {
  stats_.wait_seconds += waits_.take_seconds();
  stats_.move_seconds += moves_.take_seconds();
  return stats_;
}

void LinkEnd::reset_stats() {
  (void)waits_.take_seconds();
  (void)moves_.take_seconds();
  stats_ = {};
}

}  // namespace tandem::cuda
