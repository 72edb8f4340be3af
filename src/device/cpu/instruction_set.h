#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace tandem {

// Which kernels a CPU device runs. Each value includes the ones before it.
enum class InstructionSet : std::uint8_t {
  kPortable,  // any x86-64
  kAvx2,      // AVX2, FMA and F16C
  kAvx512,    // AVX-512 F, BW, DQ, VL and VNNI
};

std::string_view name_of(InstructionSet set);  // "portable", "avx2", "avx512"

// The best that this processor and its operating system offer (cpuid, xgetbv).
InstructionSet best_instruction_set();

// Has the processor AVX512_BF16 beside InstructionSet::kAvx512?
bool has_avx512_bf16();

// "auto" is the best one. kInvalidArgument for an unknown name, kUnsupported for a set that this
// processor lacks.
Result<InstructionSet> instruction_set_from_name(std::string_view name);

}  // namespace tandem
