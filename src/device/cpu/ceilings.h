#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/cpu/instruction_set.h"
#include "device/cpu/thread_pool.h"

namespace tandem {

// What a set of cores can do at most, measured: nothing that runs on them should be faster. Each is
// the best of several access patterns or numbers of independent sums, because one loop alone may
// miss what the hardware gives. A multiplication and an addition count as two operations.
struct CpuCeilings {
  double read_gbps = 0;      // 1e9 bytes a second from memory, all threads together
  std::string read_pattern;  // the best one: "4 streams, prefetched"
  double int8_gops = 0;      // products of bytes summed in 32 bits
  double bf16_gflops = 0;    // 0 where there is no such instruction
  double float_gflops = 0;   // fused float32
  // How far the best rounds (CeilingOptions::rounds of them) lie apart: 1 - worst / best, of the
  // kind where that is most.
  double spread = 0;

  // The larger of both in each kind: a rate that was measured while something else ran is no
  // ceiling. The spread stays.
  void raise(const CpuCeilings& other);
};

// Undisturbed rounds lie within 3 to 5 % of each other.
inline constexpr double kCeilingScatter = 0.08;

struct CeilingOptions {
  // Much larger than the last-level cache, all threads together; halves of it where memory is
  // short.
  std::int64_t read_bytes = std::int64_t{256} << 20;
  double seconds_each = 0.03;  // a pattern's measurement
  int rounds = 3;              // of all patterns; the best counts
  // While the best `rounds` rounds scatter by more than kCeilingScatter, something disturbs them:
  // more are measured, up to so many.
  int most_rounds = 3;
  // Count the calling thread's time on its core instead of the clock's: what a pool of one thread
  // reaches while it runs, on a machine that others keep busy.
  bool thread_time = false;
};

// Blocks for about half a second with the default options and allocates read_bytes; uses `set` and
// the threads of the pool as the kernels would.
CpuCeilings measure_cpu_ceilings(ThreadPool& pool, InstructionSet set,
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

// What memory gave in some looks of one probe: the largest of the patterns' medians. The largest
// rate of each look would be too high, as others disturb now one pattern and now another. 0 for no
// looks.
double typical_read_gbps(std::span<const std::vector<double>> looks);

}  // namespace tandem
