// Choosing a token among as many as large vocabularies have. Each step reads all logits once at
// least: `of_read_ceiling` sets the bytes of logits beside one core's reading of memory (above 1
// where the logits lie in a cache, as after a step they do).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/index_of_largest.h"
#include "bench_support.h"
#include "engine/sampler.h"

namespace tandem {
namespace {

constexpr std::size_t kVocabulary = 128256;

// As models have them: many unlikely, few likely.
std::vector<float> some_logits() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 2.5f);
  std::vector<float> logits(kVocabulary);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

void report(benchmark::State& state, const IterationTimes& times) {
  report_of_read_ceiling(state, kVocabulary * sizeof(float), times.mean_seconds());
}

void likeliest(benchmark::State& state) {
  const auto logits = some_logits();
  const auto largest = std::max_element(logits.begin(), logits.end()) - logits.begin();
  if (static_cast<std::ptrdiff_t>(index_of_largest(logits)) != largest) {
    return state.SkipWithError("not the likeliest token");
  }
  IterationTimes times;
  times.run(state, [&] { benchmark::DoNotOptimize(index_of_largest(logits)); });
  report(state, times);
}

void sample(benchmark::State& state, const SamplingParams& params) {
  const auto logits = some_logits();
  std::vector<float> scratch(logits.size());
  Sampler sampler(params, [](std::int32_t) { return std::string(); });
  IterationTimes times;
  for (auto _ : state) {
    std::copy(logits.begin(), logits.end(), scratch.begin());
    std::int32_t token = -1;
    times.add(state, [&] {
      token = sampler.sample(scratch).token;
      sampler.accept(token);
    });
    // None of these parameters lets a token of the less likely half through.
    if (token < 0 || logits[static_cast<std::size_t>(token)] < 0.0f) {
      return state.SkipWithError("an unlikely token");
    }
  }
  report(state, times);
}

SamplingParams with(float temperature, std::int32_t top_k, float top_p, float repeat) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.penalties.repeat = repeat;
  return params;
}

BENCHMARK(likeliest)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, greedy, with(0.0f, 0, 1.0f, 1.0f))
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, top_k_40_top_p, with(0.8f, 40, 0.95f, 1.0f))
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, with_penalty, with(0.8f, 40, 0.95f, 1.1f))
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, top_p_of_all, with(0.8f, 0, 0.95f, 1.0f))
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tandem
