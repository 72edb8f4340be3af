#include "device/cuda/stream_wait.h"

#include <chrono>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/units.h"
#include "device/cuda/cuda_error.h"

namespace tandem::cuda {
namespace {

// A decode step takes milliseconds; looks this far apart cost it nothing that can be measured.
constexpr std::int64_t kSpinUs = 200;
constexpr std::chrono::microseconds kPause(20);

template <typename Query>
Status wait(std::int64_t deadline_us, std::string_view device_id, Query&& query) {
  const std::int64_t began = monotonic_us();
  for (;;) {
    const cudaError_t state = query();
    if (state == cudaSuccess) return {};
    if (state != cudaErrorNotReady) {
      return status_of(state, "the device failed").error().at(device_id);
    }
    const std::int64_t waited = monotonic_us() - began;
    if (waited >= deadline_us) {
      return Error{ErrorCode::kDeadline,
                   "the device did not finish its work",
                   std::string(device_id),
                   "within " + format_seconds(1e-6 * static_cast<double>(deadline_us)),
                   {}};
    }
    if (waited < kSpinUs) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kPause);
    }
  }
}

}  // namespace

Status wait_for_stream(cudaStream_t stream, std::int64_t deadline_us, std::string_view device_id) {
  return wait(deadline_us, device_id, [stream] { return cudaStreamQuery(stream); });
}

Status wait_for_event(cudaEvent_t event, std::int64_t deadline_us, std::string_view device_id) {
  return wait(deadline_us, device_id, [event] { return cudaEventQuery(event); });
}

}  // namespace tandem::cuda
