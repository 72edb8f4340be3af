// What a message between ranks costs. Ranks are threads, each pinned to a core of its own where
// there are enough. `best_us` is the best of many batches: what the collective costs when nothing
// else wants the cores. Each rank must read 2 (P - 1) / P of the message at least:
// `of_read_ceiling` sets that beside one core's reading of memory (above 1 where messages lie in
// caches).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/cores.h"
#include "base/waitable_counter.h"
#include "bench_support.h"
#include "comm/communicator.h"
#include "device/device.h"

namespace tandem {
namespace {

constexpr int kCallsPerBatch = 50;

void pin_rank(int rank) {
  const auto& cores = allowed_cores();
  (void)pin_this_thread(cores[static_cast<std::size_t>(rank) % cores.size()]).ok();
}

// Runs batches of collectives on all ranks; the calling thread is rank 0.
class Ranks {
 public:
  Ranks(int size, std::int64_t bytes, ReduceAlgorithm algorithm) : floats_(bytes / 4) {
    LocalGroupOptions options;
    options.size = size;
    options.max_bytes = bytes;
    options.algorithm = algorithm;
    seats_ = create_local_group(options);
    for (int rank = 1; rank < size; ++rank) {
      threads_.emplace_back([this, rank] {
        pin_rank(rank);
        Worker worker(*seats_[static_cast<std::size_t>(rank)], floats_);
        for (std::uint32_t batch = 1;; ++batch) {
          start_.wait_for(batch, {});
          if (stop_) return;
          worker.run_batch();
        }
      });
    }
    pin_rank(0);
    first_ = std::make_unique<Worker>(*seats_.front(), floats_);
  }
  ~Ranks() {
    stop_ = true;
    start_.advance();
    for (std::thread& thread : threads_) thread.join();
  }

  // Does a call leave the sum of all ranks' numbers with this one?
  bool adds_up() {
    start_.advance();
    first_->warm_up();
    const auto sum = static_cast<float>(seats_.size());
    const bool is_sum = std::ranges::all_of(first_->x, [&](float value) { return value == sum; });
    first_->clear();
    first_->run_calls();
    return is_sum;
  }

  // Seconds of one call, averaged over a batch.
  double run_batch() {
    start_.advance();
    first_->warm_up();
    first_->clear();
    const std::int64_t begin_ns = monotonic_ns();
    first_->run_calls();
    return 1e-9 * static_cast<double>(monotonic_ns() - begin_ns) / kCallsPerBatch;
  }

 private:
  struct Worker {
    Worker(Communicator& communicator, std::int64_t num_floats)
        : comm(communicator), x(static_cast<std::size_t>(num_floats)) {}
    void call() {
      const Status status =
          comm.all_reduce_sum(*stream, dense(x.data(), 1, static_cast<std::int64_t>(x.size())));
      if (!status.ok()) std::abort();
    }
    void warm_up() {
      std::fill(x.begin(), x.end(), 1.0f);
      call();
    }
    // Sums of sums would leave what a float can hold.
    void clear() { std::fill(x.begin(), x.end(), 0.0f); }
    void run_calls() {
      for (int i = 0; i < kCallsPerBatch; ++i) call();
    }
    void run_batch() {
      warm_up();
      clear();
      run_calls();
    }
    Communicator& comm;
    std::unique_ptr<Stream> stream = create_null_device("null", 0)->create_stream();
    std::vector<float> x;
  };

  std::int64_t floats_;
  std::vector<std::unique_ptr<Communicator>> seats_;
  std::vector<std::thread> threads_;
  WaitableCounter start_;
  std::atomic<bool> stop_{false};
  std::unique_ptr<Worker> first_;
};

void all_reduce(benchmark::State& state, ReduceAlgorithm algorithm) {
  const auto size = static_cast<int>(state.range(0));
  const std::int64_t bytes = state.range(1);
  ceilings_of(1);  // not beside ranks that wait
  Ranks ranks(size, bytes, algorithm);
  if (!ranks.adds_up()) return state.SkipWithError("not the sum");
  double best = std::numeric_limits<double>::max();
  for (auto _ : state) {
    const double seconds = ranks.run_batch();
    best = std::min(best, seconds);
    state.SetIterationTime(seconds);
  }
  state.counters["best_us"] = best * 1e6;
  const double read_bytes = 2.0 * (size - 1) / size * static_cast<double>(bytes);
  state.counters["best_GBps"] = read_bytes / best * 1e-9;
  report_of_read_ceiling(state, read_bytes, best);
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  const auto cores = static_cast<std::int64_t>(allowed_cores().size());
  for (std::int64_t ranks = 2; ranks <= std::clamp<std::int64_t>(cores, 2, 8); ranks *= 2) {
    for (std::int64_t bytes = 4096; bytes <= 16 << 20; bytes *= 4) {
      benchmark->Args({ranks, bytes});
    }
    benchmark->Args({ranks, 8192})->Args({ranks, 32768});
  }
  benchmark->UseManualTime()->ArgNames({"ranks", "bytes"})->Unit(benchmark::kMicrosecond);
}

BENCHMARK_CAPTURE(all_reduce, one_shot, ReduceAlgorithm::kOneShot)->Apply(sizes);
BENCHMARK_CAPTURE(all_reduce, two_shot, ReduceAlgorithm::kTwoShot)->Apply(sizes);
BENCHMARK_CAPTURE(all_reduce, ring, ReduceAlgorithm::kRing)->Apply(sizes);
BENCHMARK_CAPTURE(all_reduce, automatic, ReduceAlgorithm::kAuto)->Apply(sizes);

}  // namespace
}  // namespace tandem
