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

#include "bench_support.h"
#include "gguf/gguf_file.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

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

void report(benchmark::State& state, const IterationTimes& times, std::size_t bytes,
            std::size_t tokens) {
  state.counters["MB/s"] = 1e-6 * static_cast<double>(bytes) / times.mean_seconds();
  state.counters["tokens/s"] = static_cast<double>(tokens) / times.mean_seconds();
  report_of_read_ceiling(state, static_cast<double>(bytes), times.mean_seconds());
}

std::string decoded(const Tokenizer& tokenizer, const std::vector<std::int32_t>& tokens) {
  std::string text;
  for (const std::int32_t token : tokens) text += tokenizer.piece(token, false);
  return text;
}

// What a text's tokens stand for is the text: some vocabularies put a space before it.
bool comes_back(const Tokenizer& tokenizer, const std::string& text) {
  const std::string back = decoded(tokenizer, tokenizer.encode(text));
  return back == text || back == " " + text;
}

void encode(benchmark::State& state) {
  const auto tokenizer = open_tokenizer();
  const std::string text = held_out_text();
  if (tokenizer == nullptr || text.empty()) return state.SkipWithError("no vocabulary or no text");
  if (!comes_back(*tokenizer, text)) return state.SkipWithError("another text comes back");
  std::size_t tokens = 0;
  IterationTimes times;
  times.run(state, [&] { tokens = tokenizer->encode(text).size(); });
  report(state, times, text.size(), tokens);
}

void decode(benchmark::State& state) {
  const auto tokenizer = open_tokenizer();
  const std::string text = held_out_text();
  if (tokenizer == nullptr || text.empty()) return state.SkipWithError("no vocabulary or no text");
  const auto tokens = tokenizer->encode(text);
  IterationTimes times;
  times.run(state, [&] { benchmark::DoNotOptimize(decoded(*tokenizer, tokens)); });
  report(state, times, text.size(), tokens.size());
}

BENCHMARK(encode)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK(decode)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tandem
