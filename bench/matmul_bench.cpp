// The matrix products of the CPU device beside the machine's ceilings: decode (few rows of x)
// beside the read bandwidth, prefill (512 rows) beside the int8, bfloat16 or float32 rate. The
// ceilings are measured before and after each benchmark, because a busy machine's change by the
// second. Results are held to those of the portable kernels.
//
//   build/bin/matmul_bench --benchmark_filter='decode/Q4_K' --benchmark_repetitions=5
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/cores.h"
#include "device/cpu/ceilings.h"
#include "device/cpu/matmul/cpu_matmul.h"
#include "device/cpu/matmul/cpu_weight.h"
#include "tensor/quantise.h"

namespace {

using namespace tandem;

constexpr std::int64_t kColumns = 2048;
constexpr std::int64_t kSourceRows = 64;  // of random weights, repeated
constexpr std::int64_t kDecodeBytes = std::int64_t{96} << 20;

struct Machine {
  ThreadPool pool;
  InstructionSet set = best_instruction_set();
  WeightArena arena;
  CpuMatmul matmul{pool, Arithmetic::kInt8, set};
  explicit Machine(std::vector<int> cores) : pool(std::move(cores)) {}

  Ceilings ceilings() {
    CeilingOptions options;
    options.seconds_each = 0.01;
    options.rounds = 2;
    options.read_bytes = kDecodeBytes;
    options.thread_time = pool.size() == 1;
    return measure_cpu_ceilings(pool, set, options);
  }
};

double now_s(bool thread_time) {
  timespec now{};
  clock_gettime(thread_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// One machine with a thread on one core, one with all.
Machine& machine(bool all_cores) {
  static std::map<bool, std::unique_ptr<Machine>> machines;
  std::unique_ptr<Machine>& found = machines[all_cores];
  if (!found) {
    std::vector<int> cores = allowed_cores();
    if (!all_cores) cores.resize(1);
    found = std::make_unique<Machine>(cores);
  }
  return *found;
}

std::vector<float> gaussian(std::int64_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

std::unique_ptr<Weight> random_weight(Machine& machine, ElementType type, std::int64_t rows) {
  const std::vector<float> values = gaussian(kSourceRows * kColumns);
  const std::int64_t row_bytes = *bytes_of(type, kColumns);
  std::vector<std::byte> bytes(static_cast<std::size_t>(kSourceRows * row_bytes));
  quantise(type, values, bytes);
  WeightSource source;
  source.type = type;
  source.rows = rows;
  source.columns = kColumns;
  source.row_bytes = [&](std::int64_t, std::int64_t row) {
    return std::span<const std::byte>(bytes).subspan(
        static_cast<std::size_t>(row % kSourceRows * row_bytes),
        static_cast<std::size_t>(row_bytes));
  };
  return std::move(
             load_cpu_weight(source, machine.pool, Arithmetic::kInt8, machine.set, machine.arena))
      .value();
}

// Do the first kSourceRows of each row of y come out as the portable kernels have them? The same
// bits for quantised types; floats are rounded differently, and BF16 weights may come with
// activations rounded to 8 bits.
bool is_right(Machine& host, ElementType type, std::vector<float>& x, const std::vector<float>& y,
              std::int64_t num_rows) {
  CpuMatmul portable(host.pool, Arithmetic::kInt8, InstructionSet::kPortable);
  const auto weight = random_weight(host, type, kSourceRows);
  std::vector<float> want(static_cast<std::size_t>(num_rows * kSourceRows));
  const MatmulTarget target{weight.get(), nullptr, dense(want.data(), num_rows, kSourceRows)};
  portable.matmul(dense(x.data(), num_rows, kColumns), std::span(&target, 1));
  const std::size_t rows = y.size() / static_cast<std::size_t>(num_rows);
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double is = y[i / kSourceRows * rows + i % kSourceRows];
    error += (is - want[i]) * (is - want[i]);
    norm += static_cast<double>(want[i]) * want[i];
  }
  const double allowed = traits_of(type).is_quantised ? 0.0
                         : type == ElementType::kBF16 ? 0x1p-8
                                                      : 1e-5;
  return std::sqrt(error) <= allowed * std::sqrt(norm);
}

// The rate that bounds products with many rows.
double compute_ceiling(ElementType type, const Ceilings& ceilings) {
  if (traits_of(type).is_quantised) return ceilings.int8_gops;
  const bool bf16 = type == ElementType::kBF16 && ceilings.bf16_gflops > 0;
  return bf16 ? ceilings.bf16_gflops : ceilings.float_gflops;
}

void multiply(benchmark::State& state, ElementType type, std::int64_t num_rows, bool all_cores) {
  Machine& host = machine(all_cores);
  // Decode reads more than any cache holds; prefill, a matrix as a layer has it.
  const bool decode = num_rows <= 32;
  const std::int64_t rows =
      decode ? kDecodeBytes / *bytes_of(type, kColumns) / 64 * 64 : std::int64_t{2048};
  const auto weight = random_weight(host, type, rows);
  std::vector<float> x = gaussian(num_rows * kColumns);
  std::vector<float> y(static_cast<std::size_t>(num_rows * rows));
  const MatmulTarget target{weight.get(), nullptr, dense(y.data(), num_rows, rows)};
  const auto once = [&] {
    host.matmul.matmul(dense(x.data(), num_rows, kColumns), std::span(&target, 1));
  };
  once();
  if (!is_right(host, type, x, y, num_rows)) return state.SkipWithError("a wrong product");
  const Ceilings before = host.ceilings();
  double seconds = 0;
  for (auto _ : state) {
    const double begin = now_s(!all_cores);
    once();
    const double elapsed = now_s(!all_cores) - begin;
    state.SetIterationTime(elapsed);
    seconds += elapsed;
  }
  const Ceilings after = host.ceilings();
  const double per_second = static_cast<double>(state.iterations()) / seconds;
  const double gbps = 1e-9 * static_cast<double>(weight->size_bytes()) * per_second;
  const double gops = 1e-9 * 2 * static_cast<double>(num_rows * rows * kColumns) * per_second;
  state.counters["GB/s"] = gbps;
  state.counters["Gops"] = gops;
  state.counters["of_read_ceiling"] = gbps / (0.5 * (before.read_gbps + after.read_gbps));
  state.counters["of_compute_ceiling"] =
      gops / (0.5 * (compute_ceiling(type, before) + compute_ceiling(type, after)));
}

void load(benchmark::State& state, ElementType type) {
  Machine& host = machine(true);
  const std::int64_t rows = kDecodeBytes / *bytes_of(type, kColumns) / 64 * 64;
  for (auto _ : state) benchmark::DoNotOptimize(random_weight(host, type, rows));
  state.SetBytesProcessed(state.iterations() * kDecodeBytes);
}

void add_benchmarks() {
  for (const ElementTypeTraits& traits : all_element_types()) {
    const ElementType type = traits.type;
    if (type == ElementType::kI32) continue;
    const std::string name(traits.name);
    for (const bool all_cores : {false, true}) {
      const std::string cores = all_cores ? "/all_cores" : "/one_core";
      for (const std::int64_t num_rows : {1, 4, 8, 16, 512}) {
        const std::string kind = num_rows <= 32 ? "decode/" : "prefill/";
        const std::string label = kind + name + "/" + std::to_string(num_rows) + cores;
        benchmark::RegisterBenchmark(
            label.c_str(),
            [=](benchmark::State& state) { multiply(state, type, num_rows, all_cores); })
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
    benchmark::RegisterBenchmark(("load/" + name).c_str(),
                                 [=](benchmark::State& state) { load(state, type); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace

int main(int argc, char** argv) {
  add_benchmarks();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
