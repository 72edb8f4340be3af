#include "nn/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace tandem {
namespace {

// The pair index at which a turn of the original context is `rotations` rotations.
double correction_dim(const RopeSpec& rope, double rotations) {
  const double context = static_cast<double>(rope.original_context_tokens);
  return rope.dims * std::log(context / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(rope.base));
}

// 1 where the pair keeps its frequency (extrapolation), 0 where it is interpolated.
double yarn_keep(const RopeSpec& rope, double pair) {
  const double low = std::max(0.0, std::floor(correction_dim(rope, rope.yarn_beta_fast)));
  const double high =
      std::min(rope.dims - 1.0, std::ceil(correction_dim(rope, rope.yarn_beta_slow)));
  const double ramp = (pair - low) / std::max(0.001, high - low);
  return 1.0 - std::clamp(ramp, 0.0, 1.0);
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeSpec& rope, std::span<const float> factors, bool local) {
  const auto pairs = static_cast<std::size_t>(rope.dims / 2);
  TANDEM_CHECK(factors.empty() || factors.size() == pairs, "RoPE factors of another size");
  const bool own_base = local && rope.local_base > 0.0;
  const double base = own_base ? rope.local_base : rope.base;
  const RopeScaling scaling = own_base ? RopeScaling::kNone : rope.scaling;
  RopeFrequencies result;
  for (std::size_t i = 0; i < pairs; ++i) {
    double frequency = std::pow(base, -2.0 * static_cast<double>(i) / rope.dims);
    if (!factors.empty() && !own_base) frequency /= factors[i];
    if (scaling == RopeScaling::kLinear) frequency /= rope.factor;
    if (scaling == RopeScaling::kYarn) {
      const double keep = yarn_keep(rope, static_cast<double>(i));
      frequency = frequency / rope.factor * (1.0 - keep) + frequency * keep;
    }
    result.inverse.push_back(static_cast<float>(frequency));
  }
  double magnitude = own_base ? 1.0 : rope.attention_factor;
  if (scaling == RopeScaling::kYarn) magnitude *= 1.0 + 0.1 * std::log(rope.factor);
  result.magnitude = static_cast<float>(magnitude);
  return result;
}

}  // namespace tandem
