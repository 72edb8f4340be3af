#pragma once

#include <span>
#include <vector>

#include "model/model_spec.h"

namespace tandem {

// The angles of RoPE in closed form: position p turns pair i by p * inverse[i] radians, and cos and
// sin are multiplied by `magnitude`. All scalings are linear in p, so they fold into the table.
struct RopeFrequencies {
  std::vector<float> inverse;  // [rope.dims / 2]
  float magnitude = 1.0f;
};

// base^(-2i/dims), divided by `factors[i]` where there are factors ([dims / 2], or empty), then
// scaled: linear by 1/factor; YaRN (Peng et al. 2023, arXiv:2309.00071, section 3.2; the ramp's
// ends rounded as ggml's ggml_rope_yarn_corr_dims does) between interpolation and extrapolation.
// local: a layer with a sliding window where the model has a base of its own for those (gemma3).
RopeFrequencies rope_frequencies(const RopeSpec& rope, std::span<const float> factors, bool local);

}  // namespace tandem
