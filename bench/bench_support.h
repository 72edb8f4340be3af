// What the micro-benchmarks share: the ceilings of the cores they run on, and the time of their
// iterations.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <limits>
#include <map>

#include "base/clock.h"
#include "base/cores.h"
#include "device/cpu/ceilings.h"

namespace tandem {

// Of the first `threads` cores of this process, measured when first asked for.
inline const Ceilings& ceilings_of(int threads) {
  static std::map<int, Ceilings> measured;
  const auto found = measured.find(threads);
  if (found != measured.end()) return found->second;
  const auto& cores = allowed_cores();
  ThreadPool pool({cores.begin(), cores.begin() + std::min<std::ptrdiff_t>(
                                                      threads, static_cast<int>(cores.size()))});
  CeilingOptions options;
  options.seconds_each = 0.01;
  options.rounds = 2;
  options.thread_time = threads == 1;
  return measured[threads] = measure_cpu_ceilings(pool, best_instruction_set(), options);
}

// Times the iterations of a benchmark with UseManualTime(), whatever else it does between them.
class IterationTimes {
 public:
  template <typename F>
  void run(benchmark::State& state, F&& body) {
    for (auto _ : state) add(state, body);
  }
  // One iteration.
  template <typename F>
  void add(benchmark::State& state, F&& body) {
    const std::int64_t began_ns = monotonic_ns();
    body();
    const double seconds = 1e-9 * static_cast<double>(monotonic_ns() - began_ns);
    best_seconds_ = std::min(best_seconds_, seconds);
    total_seconds_ += seconds;
    ++count_;
    state.SetIterationTime(seconds);
  }
  double best_seconds() const { return best_seconds_; }
  double mean_seconds() const { return total_seconds_ / static_cast<double>(count_); }

 private:
  double best_seconds_ = std::numeric_limits<double>::max();
  double total_seconds_ = 0;
  std::int64_t count_ = 0;
};

// Prints what `bytes` in `seconds` are of the cores' reading of memory (above 1 where the bytes lie
// in a cache).
inline void report_of_read_ceiling(benchmark::State& state, double bytes, double seconds,
                                   int threads = 1) {
  state.counters["of_read_ceiling"] = 1e-9 * bytes / seconds / ceilings_of(threads).read_gbps;
}

}  // namespace tandem
