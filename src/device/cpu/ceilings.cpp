#include "device/cpu/ceilings.h"

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <vector>

#include "base/check.h"
#include "base/median.h"
#include "device/cpu/ceiling_loops.h"

namespace tandem {
namespace {

using ceiling_loops::Loops;

double now_s(bool thread_time) {
  timespec now{};
  clock_gettime(thread_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Keeps results alive, so that no loop is left out.
std::atomic<std::uint64_t> sink{0};

// Memory that is there: touched, on huge pages where they are offered.
class TouchedMemory {
 public:
  explicit TouchedMemory(std::int64_t bytes) {
    for (; bytes >= kLeast; bytes /= 2) {
      void* data = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (data == MAP_FAILED) continue;
      madvise(data, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
      std::memset(data, 1, static_cast<std::size_t>(bytes));
      data_ = static_cast<std::byte*>(data);
      bytes_ = bytes;
      return;
    }
  }
  ~TouchedMemory() {
    if (data_ != nullptr) munmap(data_, static_cast<std::size_t>(bytes_));
  }
  TouchedMemory(const TouchedMemory&) = delete;
  TouchedMemory& operator=(const TouchedMemory&) = delete;
  const std::byte* data() const { return data_; }
  std::int64_t size_bytes() const { return bytes_; }

 private:
  static constexpr std::int64_t kLeast = std::int64_t{1} << 20;
  std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

// Runs `once` (which returns its amount of work) for seconds_each; work per second.
double rate_of(const CeilingOptions& options, const std::function<double()>& once) {
  double work = 0;
  const double begin = now_s(options.thread_time);
  double end = begin;
  while (end - begin < options.seconds_each) {
    work += once();
    end = now_s(options.thread_time);
  }
  return work / (end - begin);
}

struct ReadPattern {
  const char* name;
  int streams;
  bool prefetch;
};
constexpr std::array<ReadPattern, 6> kReadPatterns = {{{"1 stream", 1, false},
                                                       {"1 stream, prefetched", 1, true},
                                                       {"2 streams", 2, false},
                                                       {"2 streams, prefetched", 2, true},
                                                       {"4 streams", 4, false},
                                                       {"4 streams, prefetched", 4, true}}};

double read_once(ThreadPool& pool, const Loops& loops, const TouchedMemory& memory,
                 const ReadPattern& pattern) {
  const std::int64_t unit = std::int64_t{4096} * pattern.streams;
  const std::int64_t share = memory.size_bytes() / pool.size() / unit * unit;
  pool.parallel([&](int thread) {
    sink += loops.read(memory.data() + thread * share, share, pattern.streams, pattern.prefetch);
  });
  return static_cast<double>(share * pool.size());
}

// 1e9 bytes a second with each of kReadPatterns; empty without memory.
std::vector<double> read_rates(ThreadPool& pool, const Loops& loops, const TouchedMemory& memory,
                               const CeilingOptions& options) {
  std::vector<double> gbps;
  for (const ReadPattern& pattern : kReadPatterns) {
    if (memory.data() == nullptr) break;
    gbps.push_back(1e-9 *
                   rate_of(options, [&] { return read_once(pool, loops, memory, pattern); }));
  }
  return gbps;
}

double compute_rate(ThreadPool& pool, ceiling_loops::ComputeLoop loop, double ops,
                    const CeilingOptions& options) {
  constexpr std::int64_t kIterations = 20'000;
  double best = 0;
  for (const int sums : {8, 10, 12}) {
    const double work =
        ops * sums * ceiling_loops::kRounds * static_cast<double>(kIterations) * pool.size();
    best = std::max(best, rate_of(options, [&] {
                      pool.parallel([&](int) { sink += loop(kIterations, sums); });
                      return work;
                    }));
  }
  return best;
}

Ceilings measure_round(ThreadPool& pool, const Loops& loops, const TouchedMemory& memory,
                       const CeilingOptions& options) {
  Ceilings round;
  const std::vector<double> reading = read_rates(pool, loops, memory, options);
  if (const auto best = std::max_element(reading.begin(), reading.end()); best != reading.end()) {
    round.read_gbps = *best;
    round.read_pattern = kReadPatterns[static_cast<std::size_t>(best - reading.begin())].name;
  }
  const auto rate = [&](ceiling_loops::ComputeLoop loop, double ops) {
    return loop == nullptr ? 0.0 : 1e-9 * compute_rate(pool, loop, ops, options);
  };
  round.int8_gops = rate(loops.int8, loops.int8_ops);
  round.float_gflops = rate(loops.float32, loops.float32_ops);
  round.bf16_gflops = rate(loops.bf16, loops.bf16_ops);
  return round;
}

}  // namespace

Ceilings measure_cpu_ceilings(ThreadPool& pool, InstructionSet set, const CeilingOptions& options) {
  TANDEM_CHECK(!options.thread_time || pool.size() == 1, "the time of one thread");
  const Loops& loops = ceiling_loops::loops_for(set);
  const TouchedMemory memory(options.read_bytes);
  return *best_of_rounds(options,
                         [&] { return Result(measure_round(pool, loops, memory, options)); });
}

struct ReadProbe::State {
  CeilingOptions options;
  TouchedMemory memory;
};

ReadProbe::ReadProbe(const CeilingOptions& options)
    : state_(new State{options, TouchedMemory(options.read_bytes)}) {}

ReadProbe::~ReadProbe() = default;

std::vector<double> ReadProbe::look(ThreadPool& pool, InstructionSet set) const {
  return read_rates(pool, ceiling_loops::loops_for(set), state_->memory, state_->options);
}

}  // namespace tandem
