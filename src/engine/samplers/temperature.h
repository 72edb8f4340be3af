#pragma once

#include "engine/samplers/candidates.h"

namespace tandem {

// Divides the logits by `temperature` > 0, measured from the best one, which becomes 0.
void apply_temperature(Candidates& candidates, float temperature);

// Dynamic temperature: between temperature - range (at least 0) and temperature + range, by how
// undecided the model is: (entropy / its maximum)^exponent (llama-sampling.cpp, temp_ext). At 0
// only the best token stays. A plain temperature where range <= 0.
void apply_dynamic_temperature(Candidates& candidates, float temperature, float range,
                               float exponent);

}  // namespace tandem
