#include "model/architecture_traits.h"

#include <cmath>

namespace tandem {

bool is_gemma(Architecture architecture) {
  return architecture == Architecture::kGemma2 || architecture == Architecture::kGemma3;
}

std::int32_t window_period_of(Architecture architecture) {
  switch (architecture) {
    case Architecture::kGemma2:
      return 2;
    case Architecture::kGemma3:
      return 6;
    default:
      return 1;
  }
}

double attention_scale_of(const ModelSpec& spec) {
  const bool by_hidden = (spec.architecture == Architecture::kGemma2 && spec.num_layers == 46) ||
                         (spec.architecture == Architecture::kGemma3 && spec.num_layers == 62);
  const double divisor = by_hidden
                             ? static_cast<double>(spec.hidden_size) / spec.attention.num_q_heads
                             : spec.attention.head_dim;
  return 1.0 / std::sqrt(divisor);
}

}  // namespace tandem
