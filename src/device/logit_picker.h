#pragma once

#include <cstdint>
#include <span>

#include "device/ops.h"

namespace tandem {

// What a sampler does to one logit before it chooses: `add` is added, the result divided by
// `repeat` where it is above 0 and else multiplied by it, then lowered by `lower`. Each step is
// rounded.
struct LogitChange {
  std::int32_t row = 0;
  std::int32_t column = 0;
  float add = 0.0f;
  float repeat = 1.0f;
  float lower = 0.0f;
};

// What a stream may be besides: one that does to logits where they lie what comes before choosing
// among the best of them (Ops::top_k). Ask with dynamic_cast.
class LogitPicker {
 public:
  virtual ~LogitPicker() = default;
  // Stream-ordered. changes: host memory that may go at once; places of x, none of them twice.
  virtual void change_logits(MatrixView x, std::span<const LogitChange> changes) = 0;
  // For each row its largest number, and the sum of exp(x - largest); what is not a number counts
  // as -infinity. A row of -infinity alone: -infinity and 0. largest, sums: [x.rows], device
  // memory.
  virtual void sum_exponentials(MatrixView x, float* largest, float* sums) = 0;
};

}  // namespace tandem
