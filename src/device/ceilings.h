#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace tandem {

// What a device, or several at once, can do at most, measured: nothing that runs on them should be
// faster. Each is the best of several access patterns or numbers of independent sums, because one
// loop alone may miss what the hardware gives. A multiplication and an addition count as two
// operations. On GPUs products are those of mma.sync: Hopper's wgmma, which Tandem does not use,
// may do more.
struct Ceilings {
  double read_gbps = 0;      // 1e9 bytes a second of memory, all threads together
  std::string read_pattern;  // the best one: "4 streams, prefetched"
  double int8_gops = 0;      // products of bytes summed in 32 bits
  double bf16_gflops = 0;    // of 16-bit floats summed in 32 bits; 0: no such instruction
  double float_gflops = 0;   // fused float32
  // How far the best rounds (CeilingOptions::rounds of them) lie apart: 1 - worst / best, of the
  // kind where that is most.
  double spread = 0;

  // The larger of both in each kind: a rate that was measured while something else ran is no
  // ceiling. The spread stays.
  void raise(const Ceilings& other);
  // Of devices that have nothing in common and work at the same time. The larger spread.
  void add(const Ceilings& other);
};

// Undisturbed rounds lie within 3 to 5 % of each other.
inline constexpr double kCeilingScatter = 0.08;

struct CeilingOptions {
  // Of cores: much larger than the last-level cache, all threads together; halves of it where
  // memory is short. GPUs know how large their cache is.
  std::int64_t read_bytes = std::int64_t{256} << 20;
  double seconds_each = 0.03;  // a pattern's measurement
  int rounds = 3;              // of all patterns; the best counts
  // While the best `rounds` rounds scatter by more than kCeilingScatter, something disturbs them:
  // more are measured, up to so many.
  int most_rounds = 3;
  // Count the calling thread's time on its core instead of the clock's: what a pool of one thread
  // reaches while it runs, on a machine that others keep busy. Not for GPUs.
  bool thread_time = false;
};

// The best of as many rounds as the options say; each calls `measure` once. Its first error.
Result<Ceilings> best_of_rounds(const CeilingOptions& options,
                                const std::function<Result<Ceilings>()>& measure);

// What memory gave in some looks, each at the same patterns: the largest of the patterns' medians.
// The largest rate of each look would be too high, as others disturb now one pattern and now
// another. 0 for no looks.
double typical_read_gbps(std::span<const std::vector<double>> looks);

}  // namespace tandem
