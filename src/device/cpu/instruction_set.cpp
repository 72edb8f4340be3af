#include "device/cpu/instruction_set.h"

#include <string>

namespace tandem {

std::string_view name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPortable:
      return "portable";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
  }
  return "unknown";
}

InstructionSet best_instruction_set() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (!avx2) return InstructionSet::kPortable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  return avx512 ? InstructionSet::kAvx512 : InstructionSet::kAvx2;
}

bool has_avx512_bf16() {
  return best_instruction_set() == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bf16");
}

Result<InstructionSet> instruction_set_from_name(std::string_view name) {
  const InstructionSet best = best_instruction_set();
  if (name == "auto") return best;
  for (const InstructionSet set :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (name != name_of(set)) continue;
    if (set <= best) return set;
    return unsupported("instruction set", "this processor lacks it",
                       "at most " + std::string(name_of(best)), std::string(name));
  }
  return invalid_argument("unknown instruction set", "auto, portable, avx2 or avx512",
                          std::string(name));
}

}  // namespace tandem
