#include "device/cpu/matmul/matmul_kernels.h"

namespace tandem {
namespace {

// AVX2 multiplies bytes in pairs whose sum must fit in 16 bits: levels of eight bits go without
// their offset there.
bool all_but_eight_bits(const PackedTraits& traits) {
  return traits.level_offset < 128;
}
bool always(const PackedTraits&) {
  return true;
}

constexpr RoundedKernels kPortable = {portable::unpack, portable::tile, nullptr,
                                      nullptr,          round_row,      always};
constexpr RoundedKernels kAvx2 = {avx2::unpack, avx2::tile, nullptr,
                                  nullptr,      round_row,  all_but_eight_bits};
constexpr RoundedKernels kAvx512 = {avx512::unpack,        avx512::tile,      avx512::decode,
                                    avx512::decode_groups, avx512::round_row, always};

}  // namespace

const RoundedKernels& rounded_kernels(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512:
      return kAvx512;
    case InstructionSet::kAvx2:
      return kAvx2;
    case InstructionSet::kPortable:
      break;
  }
  return kPortable;
}

FloatKernel float_kernel(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512:
      return avx512::float_tile;
    case InstructionSet::kAvx2:
      return avx2::float_tile;
    case InstructionSet::kPortable:
      break;
  }
  return portable::float_tile;
}

FloatKernel bf16_kernel(InstructionSet set) {
  return set == InstructionSet::kAvx512 && has_avx512_bf16() ? avx512::bf16_tile : nullptr;
}

}  // namespace tandem
