#include "device/cpu/matmul/matmul_kernels.h"

namespace tandem {
namespace {

bool always(const PackedTraits&) {
  return true;
}

constexpr RoundedKernels kPortable = {portable::unpack, portable::tile, nullptr, always};

}  // namespace

const RoundedKernels& rounded_kernels(InstructionSet) {
  return kPortable;
}

FloatKernel float_kernel(InstructionSet) {
  return portable::float_tile;
}

FloatKernel bf16_kernel(InstructionSet) {
  return nullptr;
}

}  // namespace tandem
