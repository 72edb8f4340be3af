#pragma once

#include "base/result.h"
#include "machine/survey.h"

namespace tandem {

// The survey of a machine that only a description knows: cards with the catalogue's facts, in the
// board's slots in order (without [[slot]] tables: as the CPU's lanes allow). Error: no such GPU.
Result<Survey> plan_machine(const BuildSpec& build);

}  // namespace tandem
