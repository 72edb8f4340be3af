#pragma once

#include <cstdint>

#include "model/model_spec.h"

namespace tandem {

// Facts that follow from the architecture and stand in no key of the file.

bool is_gemma(Architecture architecture);

// AttentionSpec::window_period (llama.cpp, llama-model.cpp: set_swa_pattern).
std::int32_t window_period_of(Architecture architecture);

// AttentionSpec::scale, once layers, hidden size, heads and head_dim are known: 1/sqrt(head_dim),
// except Gemma 2 27B (46 layers) and Gemma 3 27B (62), whose query scale is by hidden / heads
// (their config.json: query_pre_attn_scalar 144 and 168).
double attention_scale_of(const ModelSpec& spec);

}  // namespace tandem
