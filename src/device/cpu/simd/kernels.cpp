#include "device/cpu/simd/kernels.h"

#include "base/checked.h"

namespace tandem {
namespace {

constexpr int kLanes = 16;

std::int64_t padded(int count) {
  return align_up<std::int64_t>(count, kLanes);
}

}  // namespace

std::int64_t AttentionPart::floats(int rows, int head_dim) {
  return 2 * padded(rows) + rows * padded(head_dim);
}

AttentionPart AttentionPart::at(float* memory, int rows, int) {
  return {memory, memory + padded(rows), memory + 2 * padded(rows)};
}

std::int64_t AttentionScratch::floats(int head_dim) {
  return kAttentionRows * padded(head_dim) + 2 * kAttentionTile * padded(head_dim) +
         kAttentionRows * kAttentionTile + padded(head_dim);
}

AttentionScratch AttentionScratch::at(float* memory, int head_dim) {
  AttentionScratch scratch;
  scratch.q = memory;
  scratch.keys = scratch.q + kAttentionRows * padded(head_dim);
  scratch.values = scratch.keys + kAttentionTile * padded(head_dim);
  scratch.scores = scratch.values + kAttentionTile * padded(head_dim);
  scratch.zeros =
      reinterpret_cast<const std::byte*>(scratch.scores + kAttentionRows * kAttentionTile);
  return scratch;
}

const Kernels& kernels_for(InstructionSet set) {
  if (set == InstructionSet::kAvx512) return avx512::kKernels;
  if (set == InstructionSet::kAvx2) return avx2::kKernels;
  return portable::kKernels;
}

}  // namespace tandem
