// Encoding and decoding of the held-out text with the default model's vocabulary, and of the same
// text with a vocabulary of any other file: TANDEM_VOCABULARY=model.gguf. `of_read_ceiling` is the
// text's bytes a second beside one core's reading of memory: how far a tokenizer is from copying.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/cores.h"
#include "device/cpu/ceilings.h"
#include "gguf/gguf_file.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

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

std::string held_out_text() {
  std::ifstream stream(TANDEM_SOURCE_DIR "/models/heldout.txt", std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::unique_ptr<const Tokenizer> open_tokenizer() {
  const char* other = std::getenv("TANDEM_VOCABULARY");
  const std::string path =
      other != nullptr ? other : TANDEM_SOURCE_DIR "/models/kjv-tiny-q8_0.gguf";
  auto file = GgufFile::open(path);
  if (!file.ok()) return nullptr;
  auto tokenizer = Tokenizer::create(**file);
  return tokenizer.ok() ? std::move(*tokenizer) : nullptr;
}

void report(benchmark::State& state, std::size_t bytes, std::size_t tokens) {
  const auto passes = static_cast<double>(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
  state.counters["tokens/s"] =
      benchmark::Counter(passes * static_cast<double>(tokens), benchmark::Counter::kIsRate);
  state.counters["of_read_ceiling"] = benchmark::Counter(
      passes * static_cast<double>(bytes) / (1e9 * read_ceiling()), benchmark::Counter::kIsRate);
}

void encode(benchmark::State& state) {
  const auto tokenizer = open_tokenizer();
  const std::string text = held_out_text();
  if (tokenizer == nullptr || text.empty()) return state.SkipWithError("no vocabulary or no text");
  std::size_t tokens = 0;
  for (auto _ : state) tokens = tokenizer->encode(text).size();
  report(state, text.size(), tokens);
}

void decode(benchmark::State& state) {
  const auto tokenizer = open_tokenizer();
  const std::string text = held_out_text();
  if (tokenizer == nullptr || text.empty()) return state.SkipWithError("no vocabulary or no text");
  const auto tokens = tokenizer->encode(text);
  for (auto _ : state) {
    for (const std::int32_t token : tokens) benchmark::DoNotOptimize(tokenizer->piece(token, true));
  }
  report(state, text.size(), tokens.size());
}

BENCHMARK(encode)->Unit(benchmark::kMillisecond);
BENCHMARK(decode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tandem
