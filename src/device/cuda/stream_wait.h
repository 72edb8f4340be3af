#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// Blocks until a stream or an event is done or `deadline_us` has passed (kDeadline): CUDA's own
// waits have no deadline. Asks without pause at first, then sleeps between looks.
// device_id: for errors.
Status wait_for_stream(cudaStream_t stream, std::int64_t deadline_us, std::string_view device_id);
Status wait_for_event(cudaEvent_t event, std::int64_t deadline_us, std::string_view device_id);

}  // namespace tandem::cuda
