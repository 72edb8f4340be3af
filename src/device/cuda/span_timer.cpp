#include "device/cuda/span_timer.h"

#include "device/cuda/cuda_error.h"

namespace tandem::cuda {

SpanTimer::~SpanTimer() {
  for (const Span& span : spans_) {
    (void)cudaEventDestroy(span.begin);
    (void)cudaEventDestroy(span.end);
  }
}

Status SpanTimer::begin(cudaStream_t stream) {
  is_open_ = false;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  TANDEM_CUDA_TRY(cudaStreamIsCapturing(stream, &capture), "cannot ask what a stream does");
  if (capture != cudaStreamCaptureStatusNone || num_used_ == kMostSpans) return {};
  if (num_used_ == spans_.size()) {
    Span span;
    TANDEM_CUDA_TRY(cudaEventCreateWithFlags(&span.begin, cudaEventDefault),
                    "cannot make an event");
    spans_.push_back(span);
    TANDEM_CUDA_TRY(cudaEventCreateWithFlags(&spans_.back().end, cudaEventDefault),
                    "cannot make an event");
  }
  TANDEM_CUDA_TRY(cudaEventRecord(spans_[num_used_].begin, stream), "cannot record an event");
  is_open_ = true;
  return {};
}

Status SpanTimer::end(cudaStream_t stream) {
  if (!is_open_) return {};
  is_open_ = false;
  return status_of(cudaEventRecord(spans_[num_used_++].end, stream), "cannot record an event");
}

double SpanTimer::take_seconds() {
  double seconds = 0;
  for (std::size_t i = 0; i < num_used_; ++i) {
    float milliseconds = 0.0f;
    if (cudaEventElapsedTime(&milliseconds, spans_[i].begin, spans_[i].end) == cudaSuccess) {
      seconds += 1e-3 * static_cast<double>(milliseconds);
    } else {
      (void)cudaGetLastError();  // not over yet, or the device failed, which others will say
    }
  }
  num_used_ = 0;
  return seconds;
}

}  // namespace tandem::cuda
