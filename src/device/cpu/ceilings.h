#pragma once

#include <memory>
#include <vector>

#include "device/ceilings.h"
#include "device/cpu/instruction_set.h"
#include "device/cpu/thread_pool.h"

namespace tandem {

// Blocks for about half a second with the default options and allocates read_bytes; uses `set` and
// the threads of the pool as the kernels would.
Ceilings measure_cpu_ceilings(ThreadPool& pool, InstructionSet set,
                              const CeilingOptions& options = {});

// How fast memory is now: the reading part of the above, to be asked again and again while other
// things are measured, on a machine whose memory others use too.
class ReadProbe {
 public:
  // Allocates options.read_bytes, and touches them.
  explicit ReadProbe(const CeilingOptions& options);
  ~ReadProbe();

  // 1e9 bytes a second with each pattern; empty where there was no memory. Blocks for about six
  // times seconds_each.
  std::vector<double> look(ThreadPool& pool, InstructionSet set) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tandem
