#pragma once

#include "plan/time_terms.h"

namespace tandem {

// Fills all of `out` but prefill_s: one token of each of the workload's sequences. The stages take
// turns on a single sequence; with several, groups of sequences keep all stages busy, and the round
// lasts as long as the slowest stage needs for all groups, or one group needs for all stages.
void estimate_decode(const TimeTerms& terms, TimeEstimate& out);

}  // namespace tandem
