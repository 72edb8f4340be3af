// The ops between matrix products, at the sizes of a 1B model (16 layers, hidden 2048, 32 query and
// 8 KV heads of 64, feed-forward 8192). `best_us` is the best of all runs; `of_bandwidth` sets the
// bytes that attention reads beside what plain reading of the same memory reaches in the same run,
// `of_float_ceiling` and `of_read_ceiling` other ops' work beside the ceilings of the same cores.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/cores.h"
#include "bench_support.h"
#include "device/cpu/thread_pool.h"
#include "device/device.h"

namespace tandem {
namespace {

constexpr int kLayers = 16;
constexpr int kHidden = 2048;
constexpr int kHeads = 32;
constexpr int kKvHeads = 8;
constexpr int kHeadDim = 64;
constexpr int kFeedForward = 8192;
constexpr int kBlockTokens = 32;

class Best {
 public:
  template <typename F>
  void run(benchmark::State& state, F&& body) {
    times_.run(state, body);
    state.counters["best_us"] = seconds() * 1e6;
  }
  double seconds() const { return times_.best_seconds(); }

 private:
  IterationTimes times_;
};

// A device on the first `threads` cores, and a cache of `context` tokens in every layer.
struct Model {
  Model(int threads, int context_tokens) : context(context_tokens) {
    CpuDeviceOptions options;
    options.cores.assign(
        allowed_cores().begin(),
        allowed_cores().begin() + std::min<std::ptrdiff_t>(threads, std::ssize(allowed_cores())));
    device = std::move(create_cpu_device("cpu", options)).value();
    device->bind_thread();
    stream = device->create_stream();
    num_blocks = (context + kBlockTokens - 1) / kBlockTokens;
    table.resize(static_cast<std::size_t>(num_blocks));
    std::iota(table.begin(), table.end(), 0);
    layer_bytes = std::int64_t{2} * num_blocks * kBlockTokens * kKvHeads * kHeadDim;
    cache = std::move(device->allocate(2 * layer_bytes * kLayers)).value();
    stream->fill_zero(cache->data(), cache->size_bytes());
  }
  KvView layer(int index) {
    auto* base = static_cast<std::byte*>(cache->data()) + 2 * layer_bytes * index;
    return {base,         base + layer_bytes, ElementType::kF16, num_blocks,
            kBlockTokens, kKvHeads,           kHeadDim};
  }
  AttentionArgs attention(int index, float* q, float* out, int tokens,
                          const SequenceSlice& sequence) {
    AttentionArgs args;
    args.q = dense(q, tokens, kHeads * kHeadDim);
    args.out = dense(out, tokens, kHeads * kHeadDim);
    args.kv = layer(index);
    args.sequences = {&sequence, 1};
    args.num_q_heads = kHeads;
    args.q_heads_per_kv_head = kHeads / kKvHeads;
    args.scale = 0.125f;
    return args;
  }

  int context;
  int num_blocks = 0;
  std::int64_t layer_bytes = 0;  // of K, and as many of V
  std::vector<std::int32_t> table;
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Buffer> cache;
};

// Plain reading of the same cache by as many threads: the best of two ways to walk it.
double best_read_seconds(ThreadPool& pool, const std::byte* data, std::int64_t bytes) {
  using Words = std::uint64_t __attribute__((vector_size(64)));
  const auto* words = reinterpret_cast<const Words*>(data);
  const std::int64_t count = bytes / 64;
  double best = std::numeric_limits<double>::max();
  for (int run = 0; run < 20; ++run) {
    const std::int64_t begin_ns = monotonic_ns();
    pool.parallel([&](int thread) {
      const std::int64_t begin = count * thread / pool.size();
      const std::int64_t end = count * (thread + 1) / pool.size();
      const std::int64_t quarter = (end - begin) / 4;
      Words a{}, b{}, c{}, d{};
      if (run % 2 == 0) {
        for (std::int64_t i = begin; i + 4 <= end; i += 4) {
          a |= words[i];
          b |= words[i + 1];
          c |= words[i + 2];
          d |= words[i + 3];
        }
      } else {
        for (std::int64_t i = begin; i < begin + quarter; ++i) {
          a |= words[i];
          b |= words[i + quarter];
          c |= words[i + 2 * quarter];
          d |= words[i + 3 * quarter];
        }
      }
      a |= b | c | d;
      benchmark::DoNotOptimize(a);
    });
    best = std::min(best, 1e-9 * static_cast<double>(monotonic_ns() - begin_ns));
  }
  return best;
}

bool is_zero(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float value) { return value == 0.0f; });
}

void decode_attention(benchmark::State& state) {
  const auto threads = static_cast<int>(state.range(0));
  const auto context = static_cast<int>(state.range(1));
  Model model(threads, context);
  std::vector<float> q(kHeads * kHeadDim, 0.5f), out(q.size());
  const SequenceSlice sequence{0, 1, context, model.table};
  Best best;
  best.run(state, [&] {
    for (int i = 0; i < kLayers; ++i) {
      model.stream->attention(model.attention(i, q.data(), out.data(), 1, sequence));
    }
  });
  if (!is_zero(out)) return state.SkipWithError("values of zero do not weigh up to zero");
  std::vector<int> cores(allowed_cores().begin(), allowed_cores().begin() + threads);
  ThreadPool pool(cores);
  const double read = best_read_seconds(pool, static_cast<std::byte*>(model.cache->data()),
                                        model.cache->size_bytes());
  const auto bytes = static_cast<double>(model.cache->size_bytes());
  state.counters["GBps"] = bytes / best.seconds() * 1e-9;
  state.counters["of_bandwidth"] = read / best.seconds();
}
BENCHMARK(decode_attention)
    ->ArgsProduct({{1, 2}, {64, 512, 4096}})
    ->ArgNames({"threads", "context"})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

void prefill_attention(benchmark::State& state) {
  const auto threads = static_cast<int>(state.range(0));
  const auto tokens = static_cast<int>(state.range(1));
  Model model(threads, tokens);
  std::vector<float> q(static_cast<std::size_t>(tokens) * kHeads * kHeadDim, 0.5f), out(q.size());
  const SequenceSlice sequence{0, tokens, tokens, model.table};
  Best best;
  best.run(state, [&] {
    for (int i = 0; i < kLayers; ++i) {
      model.stream->attention(model.attention(i, q.data(), out.data(), tokens, sequence));
    }
  });
  if (!is_zero(out)) return state.SkipWithError("values of zero do not weigh up to zero");
  // Two products of head_dim multiply-adds for each query and each position that it sees.
  const double operations =
      4.0 * kHeadDim * kHeads * kLayers * (0.5 * tokens * (static_cast<double>(tokens) + 1));
  const double gflops = operations / best.seconds() * 1e-9;
  state.counters["GFLOPs"] = gflops;
  state.counters["of_float_ceiling"] = gflops / ceilings_of(threads).float_gflops;
}
BENCHMARK(prefill_attention)
    ->ArgsProduct({{1, 2}, {512, 2048}})
    ->ArgNames({"threads", "tokens"})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

// All ops of one step but attention and the matrix products.
void step_without_products(benchmark::State& state) {
  const auto threads = static_cast<int>(state.range(0));
  const auto tokens = static_cast<int>(state.range(1));
  Model model(threads, tokens);
  const auto floats = [&](int columns) {
    return std::vector<float>(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(columns),
                              0.5f);
  };
  std::vector<float> hidden = floats(kHidden), normed = floats(kHidden);
  std::vector<float> q = floats(kHeads * kHeadDim), k = floats(kKvHeads * kHeadDim);
  std::vector<float> gate = floats(kFeedForward), up = floats(kFeedForward);
  const std::vector<float> weight(kHidden, 1.0f), frequencies(kHeadDim / 2, 0.01f);
  std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<std::int64_t> slots(positions.begin(), positions.end());
  const auto matrix = [&](std::vector<float>& values, int columns) {
    return dense(values.data(), tokens, columns);
  };
  RopeArgs rope;
  rope.head_dim = rope.rope_dims = kHeadDim;
  rope.inverse_frequencies = frequencies.data();
  rope.positions = positions.data();
  Stream& stream = *model.stream;
  Best best;
  best.run(state, [&] {
    for (int i = 0; i < kLayers; ++i) {
      stream.rms_norm(matrix(hidden, kHidden), weight.data(), 1e-5f, matrix(normed, kHidden));
      rope.x = matrix(q, kHeads * kHeadDim);
      stream.rope(rope);
      rope.x = matrix(k, kKvHeads * kHeadDim);
      stream.rope(rope);
      stream.store_kv(matrix(k, kKvHeads * kHeadDim), matrix(k, kKvHeads * kHeadDim),
                      model.layer(i), slots);
      stream.add(matrix(hidden, kHidden), matrix(normed, kHidden));
      stream.rms_norm(matrix(hidden, kHidden), weight.data(), 1e-5f, matrix(normed, kHidden));
      stream.gated_activation(GateKind::kSilu, matrix(gate, kFeedForward),
                              matrix(up, kFeedForward));
      stream.add(matrix(hidden, kHidden), matrix(normed, kHidden));
    }
  });
  // A norm of numbers alike is one where the weights are; nothing here may leave a float's range.
  if (!std::ranges::all_of(normed, [](float value) { return std::fabs(value - 1.0f) < 1e-3f; })) {
    return state.SkipWithError("not the norm");
  }
  // Floats that are read or written: norms and additions, RoPE, the cache (half of a float each),
  // the activation.
  const double touched = 2 * 2 * kHidden + 2 * 3 * kHidden + 2 * (kHeads + kKvHeads) * kHeadDim +
                         3 * kKvHeads * kHeadDim + 3 * kFeedForward;
  report_of_read_ceiling(state, 4.0 * tokens * kLayers * touched, best.seconds(), threads);
}
BENCHMARK(step_without_products)
    ->ArgsProduct({{1, 2}, {1, 16, 512}})
    ->ArgNames({"threads", "tokens"})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

void pool_dispatch(benchmark::State& state) {
  const auto threads = static_cast<std::ptrdiff_t>(state.range(0));
  ThreadPool pool({allowed_cores().begin(), allowed_cores().begin() + threads});
  pool.bind_caller();
  Best best;
  best.run(state, [&] {
    for (int i = 0; i < 100; ++i) pool.parallel([](int) {});
  });
  state.counters["best_us_a_job"] = best.seconds() * 1e4;
}
BENCHMARK(pool_dispatch)->Arg(2)->ArgName("threads")->UseManualTime();

void top_40_of_a_vocabulary(benchmark::State& state) {
  Model model(1, 1);
  std::vector<float> logits(128 * 1024);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>((i * 2654435761u) % 1'000'003) * 1e-5f;
  }
  std::vector<float> values(40);
  std::vector<std::int32_t> indices(40);
  Best best;
  best.run(state, [&] {
    model.stream->top_k(dense(logits.data(), 1, std::ssize(logits)), 40, values.data(),
                        indices.data());
  });
  if (values.front() != *std::ranges::max_element(logits)) {
    return state.SkipWithError("not the largest");
  }
  report_of_read_ceiling(state, static_cast<double>(logits.size() * sizeof(float)), best.seconds());
}
BENCHMARK(top_40_of_a_vocabulary)->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tandem
