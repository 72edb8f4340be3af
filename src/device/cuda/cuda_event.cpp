#include "device/cuda/cuda_event.h"

#include "device/cuda/cuda_error.h"
#include "device/cuda/stream_wait.h"

namespace tandem::cuda {

CudaEvent::CudaEvent(CudaStream& stream) : stream_(stream) {}

CudaEvent::~CudaEvent() {
  if (event_ != nullptr) (void)cudaEventDestroy(event_);
}

cudaError_t CudaEvent::record(cudaStream_t stream) {
  if (const cudaError_t error = cudaEventCreateWithFlags(&event_, cudaEventDefault);
      error != cudaSuccess) {
    return error;
  }
  num_downloads_ = stream_.downloads_.enqueued();
  return cudaEventRecord(event_, stream);
}

Status CudaEvent::wait(std::int64_t deadline_us) {
  if (stream_.poison_) return *stream_.poison_;
  (void)cudaSetDevice(stream_.context_.gpu.index);
  Status status = wait_for_event(event_, deadline_us, stream_.device_id_);
  if (status.ok()) {
    stream_.downloads_.deliver(num_downloads_);
  } else if (status.error().code != ErrorCode::kDeadline) {
    stream_.poison_ = status.error();
  }
  return status;
}

double CudaEvent::seconds_since(const Event& start) const {
  float milliseconds = 0.0f;
  const auto& before = static_cast<const CudaEvent&>(start);
  if (cudaEventElapsedTime(&milliseconds, before.event_, event_) != cudaSuccess) return 0.0;
  return 1e-3 * static_cast<double>(milliseconds);
}

}  // namespace tandem::cuda
