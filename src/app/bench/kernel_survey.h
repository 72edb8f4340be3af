#pragma once

#include <string>
#include <vector>

#include "app/bench/ceiling_survey.h"
#include "base/result.h"
#include "plan/engine_profile.h"
#include "tensor/element_type.h"

namespace tandem {

struct KernelSurveyRequest {
  std::vector<MachineDevice> devices;  // alike: what the first does alone stands for each
  std::string instruction_set = "auto";
  const CeilingSurvey* ceilings = nullptr;  // with the first device's rates
  std::vector<ElementType> types;           // of weights; empty: all that there are kernels for
  double seconds_each = 0.02;               // of one measurement
  int rounds = 3;                           // of every measurement; medians count
};

// Measures what kernels of weights, attention and the ops between them take on one device and on
// all at once, beside what they read of memory at that moment, and writes the constants of `cpu`
// that tell it: kernels, kv_efficiency, shared_kv_efficiency, attention_efficiency,
// attention_context_ops, layer_us, prefill_layer_us, activation_hidden, activation_width,
// group_wait, prefill_group_wait. No model has a part in it, so that they hold for any.
// Blocks for about two seconds a type of weights. Needs about 600 MB, and 128 MB more a device.
Status survey_kernels(const KernelSurveyRequest& request, BackendProfile& cpu);

}  // namespace tandem
