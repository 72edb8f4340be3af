// Choosing a token among as many as large vocabularies have. Each step reads all logits once at
// least: `of_read_ceiling` sets the bytes of logits beside one core's reading of memory (above 1
// where the logits lie in a cache, as after a step they do).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/cores.h"
#include "base/index_of_largest.h"
#include "device/cpu/ceilings.h"
#include "engine/sampler.h"

namespace tandem {
namespace {

constexpr std::size_t kVocabulary = 128256;

double read_ceiling() {
  static const double gbps = [] {
    ThreadPool pool({allowed_cores().front()});
    CeilingOptions options;
    options.seconds_each = 0.02;
    options.thread_time = true;
    return measure_cpu_ceilings(pool, best_instruction_set(), options).read_gbps;
  }();
  return gbps;
}

// As models have them: many unlikely, few likely.
std::vector<float> some_logits() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 2.5f);
  std::vector<float> logits(kVocabulary);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

void report(benchmark::State& state) {
  const auto bytes = static_cast<double>(kVocabulary * sizeof(float));
  state.counters["of_read_ceiling"] =
      benchmark::Counter(bytes * static_cast<double>(state.iterations()) / (1e9 * read_ceiling()),
                         benchmark::Counter::kIsRate);
}

void likeliest(benchmark::State& state) {
  const auto logits = some_logits();
  for (auto _ : state) benchmark::DoNotOptimize(index_of_largest(logits));
  report(state);
}

void sample(benchmark::State& state, const SamplingParams& params) {
  const auto logits = some_logits();
  std::vector<float> scratch(logits.size());
  Sampler sampler(params, [](std::int32_t) { return std::string(); });
  for (auto _ : state) {
    state.PauseTiming();
    std::copy(logits.begin(), logits.end(), scratch.begin());
    state.ResumeTiming();
    const SampledToken sampled = sampler.sample(scratch);
    sampler.accept(sampled.token);
    benchmark::DoNotOptimize(sampled.token);
  }
  report(state);
}

SamplingParams with(float temperature, std::int32_t top_k, float top_p, float repeat) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.penalties.repeat = repeat;
  return params;
}

BENCHMARK(likeliest)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, greedy, with(0.0f, 0, 1.0f, 1.0f))->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, top_k_40_top_p, with(0.8f, 40, 0.95f, 1.0f))
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, with_penalty, with(0.8f, 40, 0.95f, 1.1f))->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, top_p_of_all, with(0.8f, 0, 0.95f, 1.0f))->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tandem
