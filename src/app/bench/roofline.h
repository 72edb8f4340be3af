#pragma once

#include "device/cpu/ceilings.h"
#include "model/model_spec.h"

namespace tandem {

// What a phase must do at least, whatever the setup.
struct PhaseCost {
  double bytes = 0;       // of weights and cache that are read, summed over its steps
  double operations = 0;  // of matrix products and attention; a multiplication and an addition: two
  double weight_bytes = 0;
  double num_steps = 0;
  bool quantised = true;  // bounded by the rate of int8 products, else of bf16 ones
};

// A prompt: every weight read once, but the output matrix for its last token alone; products and
// causal attention over half of its context on average.
PhaseCost prompt_cost(const ModelSpec& spec, ElementType kv_type, std::int32_t prompt_tokens);

// gen_tokens steps of `concurrency` sequences, each from a context of prompt_tokens on.
PhaseCost decode_cost(const ModelSpec& spec, ElementType kv_type, std::int32_t concurrency,
                      std::int32_t prompt_tokens, std::int32_t gen_tokens);

// The rate of products that bounds such weights: int8, or bf16 (float32 where there is no bf16).
double product_gops(const PhaseCost& cost, const Ceilings& ceilings);

// Seconds at the ceilings: the longer of reading and computing, which overlap (Williams et al.,
// "Roofline", CACM 2009).
double ceiling_seconds(const PhaseCost& cost, const Ceilings& ceilings);
bool is_bound_by_reading(const PhaseCost& cost, const Ceilings& ceilings);

}  // namespace tandem
