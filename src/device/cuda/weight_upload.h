#pragma once

#include "device/cuda/arena.h"
#include "device/cuda/cuda_api.h"
#include "device/device.h"

namespace tandem::cuda {

// Reads every row of the source once, packs it for the kernels and copies it to the device through
// page-locked memory, one piece being packed while the last one travels. Blocks. kUnsupported for a
// type that has no matrix products (I32), kInvalidArgument where the columns are no whole number of
// blocks.
Result<std::unique_ptr<Weight>> upload_weight(const WeightSource& source, Arena& arena, int gpu,
                                              Arithmetic arithmetic);

}  // namespace tandem::cuda
