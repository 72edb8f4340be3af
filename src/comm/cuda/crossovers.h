#pragma once

#include <span>

#include "comm/cuda/cuda_communicator.h"

namespace tandem::cuda {

// Reduces known numbers over the seats of a group, on streams of their own, one thread a rank. Has
// every rank the right sums? The numbers and their sums are exact on every wire. Blocks; an error
// is that of a rank, also where its sums did not come within deadline_us.
Result<bool> sums_are_right(std::span<CudaCommunicator* const> seats,
                            std::span<Device* const> devices, std::int64_t deadline_us);

// Times the algorithms at a few sizes up to `max_bytes` and says from which size on the next one is
// the faster. Blocks, some milliseconds.
Result<Crossovers> measure_crossovers(std::span<CudaCommunicator* const> seats,
                                      std::span<Device* const> devices, std::int64_t max_bytes);

}  // namespace tandem::cuda
