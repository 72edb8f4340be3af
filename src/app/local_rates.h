#pragma once

#include <string>

#include "base/result.h"
#include "machine/machine.h"

namespace tandem {

// Measures what the CPU devices of this computer read and compute, for a few tenths of a second
// while all of their cores are busy, and writes it into `machine`: the first device alone, the
// others in proportion to their cores, and all together. Where others use the cores at that time
// the rates come out low.
Status measure_local_rates(Machine& machine);

}  // namespace tandem
