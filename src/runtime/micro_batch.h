#pragma once

#include <vector>

#include "nn/step_batch.h"

namespace tandem {

// Cuts a batch into consecutive pieces of at most `max_tokens` tokens, for stages to work on at the
// same time. A sequence's chunk may be cut too: its earlier tokens are in an earlier piece. Block
// tables and slots stay as they are; output rows keep their order over the pieces.
std::vector<StepBatch> split_batch(const StepBatch& batch, std::int32_t max_tokens);

}  // namespace tandem
