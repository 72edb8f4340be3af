#pragma once

#include <vector>

#include "base/result.h"

namespace tandem {

// The logical CPUs that this process may run on (its affinity mask when first asked), ascending.
const std::vector<int>& allowed_cores();

// Binds the calling thread to `core`. kInvalidArgument if the process may not run there.
Status pin_this_thread(int core);

}  // namespace tandem
