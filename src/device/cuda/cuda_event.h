#pragma once

#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_stream.h"

namespace tandem::cuda {

// A point in a CudaStream's order. The stream must outlive it.
class CudaEvent : public Event {
 public:
  explicit CudaEvent(CudaStream& stream);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  cudaError_t record(cudaStream_t stream);
  Status wait(std::int64_t deadline_us) override;
  double seconds_since(const Event& start) const override;

 private:
  CudaStream& stream_;
  cudaEvent_t event_ = nullptr;
  std::int64_t num_downloads_ = 0;  // enqueued before it
};

}  // namespace tandem::cuda
