#include "comm/cuda/side_stream.h"

#include "base/check.h"
#include "device/cuda/cuda_error.h"

namespace tandem::cuda {

Result<std::unique_ptr<SideStream>> SideStream::create(int gpu) {
  std::unique_ptr<SideStream> side(new SideStream(gpu));
  TANDEM_TRY_STATUS(side->open());
  return side;
}

Status SideStream::open() {
  TANDEM_CUDA_TRY(cudaSetDevice(gpu_), "cannot use the GPU");
  int least = 0, greatest = 0;
  TANDEM_CUDA_TRY(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cannot ask for priorities");
  TANDEM_CUDA_TRY(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest),
                  "cannot make a stream");
  TANDEM_CUDA_TRY(cudaEventCreateWithFlags(&given_, cudaEventDisableTiming),
                  "cannot make an event");
  for (cudaEvent_t& event : done_) {
    TANDEM_CUDA_TRY(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
                    "cannot make an event");
  }
  return {};
}

SideStream::~SideStream() {
  (void)cudaSetDevice(gpu_);
  if (stream_ != nullptr) {
    (void)cudaStreamSynchronize(stream_);
    (void)cudaStreamDestroy(stream_);
  }
  if (given_ != nullptr) (void)cudaEventDestroy(given_);
  for (cudaEvent_t event : done_) {
    if (event != nullptr) (void)cudaEventDestroy(event);
  }
}

Status SideStream::begin(cudaStream_t main) {
  TANDEM_CHECK(num_open() < kMostOpen, "pieces are awaited before more of them begin");
  TANDEM_CUDA_TRY(cudaEventRecord(given_, main), "cannot record an event");
  return status_of(cudaStreamWaitEvent(stream_, given_, 0), "cannot wait for another stream");
}

Status SideStream::end() {
  return status_of(cudaEventRecord(done(num_ended_++), stream_), "cannot record an event");
}

Status SideStream::await(cudaStream_t main) {
  TANDEM_CHECK(num_open() > 0, "a piece that was begun");
  TANDEM_TRY_STATUS(stood_still_.begin(main));
  TANDEM_CUDA_TRY(cudaStreamWaitEvent(main, done(num_awaited_++), 0),
                  "cannot wait for another stream");
  return stood_still_.end(main);
}

}  // namespace tandem::cuda
