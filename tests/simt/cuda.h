#pragma once

// What src/device/cuda/cuda_api.h includes when the CUDA sources are compiled for the emulation.
#include "simt/block.h"
#include "simt/half_types.h"
#include "simt/intrinsics.h"
#include "simt/launch.h"
#include "simt/math.h"
#include "simt/qualifiers.h"
#include "simt/runtime.h"
#include "simt/vector_types.h"
