// What the CUDA kernels reach on one GPU: decode in GB/s of weights and as a fraction of copy
// bandwidth measured beside it, prefill in T multiply-adds/s and as a fraction of the matrix rate
// that bare mma instructions reach, attention in both. Fills the tables of docs/performance.md.
//   build/bin/cuda_kernels_bench [gpu index [divisor]]
// Each figure is the median of 15 repetitions that alternate with the ceiling's; weights are random
// bytes, and decode walks through copies of the weight that together exceed the L2 cache twice
// over. A divisor makes everything so much smaller, and measures once: to see that it works, on the
// emulation (tests/simt) for instance.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/cuda/attention/paged_attention.h"
#include "device/cuda/matmul/products.h"
#include "device/cuda/weight_packing.h"
#include "device/gpu_probe.h"

namespace tandem::cuda {
namespace {

constexpr double kCeilingSeconds = 0.004;  // of each pattern

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

[[noreturn]] void fail(const Error& error) {
  std::fprintf(stderr, "%s\n", error.to_string().c_str());
  std::exit(1);
}

double value_of(const Result<double>& result) {
  if (!result.ok()) fail(result.error());
  return *result;
}

class Memory {
 public:
  explicit Memory(std::int64_t bytes) {
    check(cudaMalloc(&data_, static_cast<std::size_t>(bytes)), "cudaMalloc");
    check(cudaMemset(data_, 0x11, static_cast<std::size_t>(bytes)), "cudaMemset");
  }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

class Timer {
 public:
  Timer() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    check(cudaEventCreateWithFlags(&begin_, cudaEventDefault), "event");
    check(cudaEventCreateWithFlags(&end_, cudaEventDefault), "event");
  }
  cudaStream_t stream() const { return stream_; }
  // Seconds of one call of `work`, which enqueues on stream(); `calls` are timed together.
  double seconds(int calls, const std::function<void()>& work) const {
    check(cudaEventRecord(begin_, stream_), "record");
    for (int i = 0; i < calls; ++i) work();
    check(cudaEventRecord(end_, stream_), "record");
    check(cudaEventSynchronize(end_), "a kernel");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "elapsed");
    return milliseconds / 1e3 / calls;
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Medians of `work` and of a ceiling that is measured in between.
struct Pair {
  double work;
  double ceiling;
};
Pair alternate(const Timer& timer, int repetitions, int calls, const std::function<void()>& work,
               const std::function<double()>& ceiling) {
  timer.seconds(calls, work);  // warms up
  std::vector<double> times, ceilings;
  for (int i = 0; i < repetitions; ++i) {
    times.push_back(timer.seconds(calls, work));
    ceilings.push_back(ceiling());
  }
  return {median(times), median(ceilings)};
}

class Bench {
 public:
  Bench(int gpu, int divisor) : divisor_(divisor), repetitions_(divisor == 1 ? 15 : 1) {
    check(cudaSetDevice(gpu), "no such GPU");
    check(cudaGetDeviceProperties(&gpu_, gpu), "properties");
    int driver = 0;
    check(cudaDriverGetVersion(&driver), "driver");
    std::printf("%s, sm_%d%d, %d SMs, driver for CUDA %d.%d\n", gpu_.name, gpu_.major, gpu_.minor,
                gpu_.multiProcessorCount, driver / 1000, driver % 1000 / 10);
    auto probe = create_gpu_probe("cuda:" + std::to_string(gpu), gpu);
    if (!probe.ok()) fail(probe.error());
    probe_ = std::move(probe).value();
  }

  void run() {
    decode();
    prefill();
    attention_decode();
    attention_prefill();
  }

 private:
  // Bytes read and written a second, by the best pattern.
  double copy_rate() const {
    double best = 0;
    for (int pattern = 0; pattern < probe_->num_read_patterns(); ++pattern) {
      best = std::max(best, value_of(probe_->read_gbps(pattern, kCeilingSeconds)));
    }
    return 1e9 * best;
  }
  // Multiply-adds a second.
  double matrix_rate() const {
    return 1e9 * value_of(probe_->product_gops(ProductKind::kBf16, kCeilingSeconds)) / 2;
  }

  struct Matrices {
    std::unique_ptr<Memory> memory;
    WeightView matrix;
    std::int64_t bytes = 0;
    int copies = 1;
  };
  // Copies of a matrix, so that one is not in the cache when it is read again.
  Matrices matrices(ElementType type, std::int64_t rows, std::int64_t columns) const {
    const WeightPacking packing = type == ElementType::kF32
                                      ? packing_of(type, rows, columns, Arithmetic::kInt8)
                                      : fragment_packing_of(type, rows, columns);
    Matrices result;
    result.matrix = {nullptr, type,    packing.layout,    1,
                     rows,    columns, packing.row_bytes, packing.expert_bytes};
    result.bytes = packing.expert_bytes;
    result.copies = static_cast<int>(2ll * gpu_.l2CacheSize / result.bytes) + 2;
    result.memory = std::make_unique<Memory>(result.bytes * result.copies);
    return result;
  }

  void decode() {
    std::printf("\ndecode, 14336 x 4096: GB/s of weights (fraction of copy)\n%-8s", "rows of x");
    for (const int rows : {1, 2, 4, 8, 32, 64}) std::printf("%16d", rows);
    std::printf("\n");
    for (const ElementTypeTraits& traits : all_element_types()) {
      if (traits.type == ElementType::kI32) continue;
      std::printf("%-8s", traits.name.data());
      for (const int rows : {1, 2, 4, 8, 32, 64}) {
        const Matrices m = matrices(traits.type, 14336 / divisor_, 4096 / divisor_);
        int next = 0;
        const Pair pair = products_of(m, rows, m.copies, next, [&] { return copy_rate(); });
        const double rate = static_cast<double>(m.bytes) / pair.work;
        std::printf("%8.0f (%3.0f %%)", rate / 1e9, 100 * rate / pair.ceiling);
      }
      std::printf("\n");
    }
  }

  void prefill() {
    std::printf("\nprefill, 4096 x 4096: T multiply-adds/s (fraction of mma.sync f16)\n%-8s",
                "rows of x");
    for (const int rows : {128, 512, 2048}) std::printf("%16d", rows);
    std::printf("\n");
    for (const ElementTypeTraits& traits : all_element_types()) {
      if (traits.type == ElementType::kI32) continue;
      std::printf("%-8s", traits.name.data());
      for (const int rows : {128, 512, 2048}) {
        const Matrices m = matrices(traits.type, 4096 / divisor_, 4096 / divisor_);
        int next = 0;
        const Pair pair = products_of(m, rows, 4, next, [&] { return matrix_rate(); });
        const double rate =
            static_cast<double>(m.matrix.rows * m.matrix.columns) * rows / pair.work;
        std::printf("%8.1f (%3.0f %%)", rate / 1e12, 100 * rate / pair.ceiling);
      }
      std::printf("\n");
    }
  }

  Pair products_of(const Matrices& m, int rows, int calls, int& next,
                   const std::function<double()>& ceiling) const {
    const Memory x(4ll * rows * m.matrix.columns), y(4ll * rows * m.matrix.rows);
    ViewTarget target{m.matrix, nullptr, dense(y.as<float>(), rows, m.matrix.rows)};
    const ProductInput input{dense(x.as<float>(), rows, m.matrix.columns)};
    const Memory scratch(products_scratch_bytes(input, {&target, 1}) + 256);
    const auto work = [&] {
      target.weight.data = m.memory->as<std::byte>() + next++ % m.copies * m.bytes;
      check(products(timer_.stream(), input, {&target, 1}, scratch.as<void>()), "products");
    };
    return alternate(timer_, repetitions_, calls, work, ceiling);
  }

  // 32 query heads on 8 KV heads of 128 numbers.
  Pair attention_of(ElementType type, int num_sequences, int num_tokens, int context,
                    const std::function<double()>& ceiling) const {
    constexpr int kHeads = 32, kKvHeads = 8, kDim = 128, kBlock = 16;
    const int blocks = (context + kBlock - 1) / kBlock;
    const std::int64_t cache_bytes =
        std::int64_t{blocks} * num_sequences * kKvHeads * kBlock * *bytes_of(type, kDim);
    const int total = num_sequences * num_tokens;
    const Memory k(cache_bytes), v(cache_bytes), q(4ll * total * kHeads * kDim),
        out(4ll * total * kHeads * kDim);
    std::vector<DeviceSequence> sequences;
    std::vector<std::int32_t> table;
    for (int s = 0; s < num_sequences; ++s) {
      sequences.push_back({s * num_tokens, num_tokens, context, s * blocks});
      for (int b = 0; b < blocks; ++b) table.push_back(b * num_sequences + s);
    }
    const Memory sequence_memory(
        static_cast<std::int64_t>(sequences.size() * sizeof(DeviceSequence)));
    const Memory table_memory(static_cast<std::int64_t>(table.size() * 4));
    check(cudaMemcpy(sequence_memory.as<void>(), sequences.data(),
                     sequences.size() * sizeof(DeviceSequence), cudaMemcpyHostToDevice),
          "copy");
    check(
        cudaMemcpy(table_memory.as<void>(), table.data(), table.size() * 4, cudaMemcpyHostToDevice),
        "copy");
    DeviceSequences on_device;
    on_device.sequences = sequence_memory.as<DeviceSequence>();
    on_device.block_tables = table_memory.as<std::int32_t>();
    on_device.limits = {num_sequences, total, num_tokens, context};
    AttentionArgs args;
    args.q = dense(q.as<float>(), total, kHeads * kDim);
    args.out = dense(out.as<float>(), total, kHeads * kDim);
    args.kv = {k.as<void>(), v.as<void>(), type, blocks * num_sequences, kBlock, kKvHeads, kDim};
    args.num_q_heads = kHeads;
    args.q_heads_per_kv_head = kHeads / kKvHeads;
    args.scale = 0.088f;
    const Memory scratch(paged_attention_scratch_bytes(args, on_device.limits) + 256);
    const auto work = [&] {
      check(paged_attention(timer_.stream(), args, on_device, scratch.as<void>()), "attention");
    };
    return alternate(timer_, repetitions_, 4, work, ceiling);
  }

  void attention_decode() {
    std::printf("\nattention, decode, 32 / 8 heads of 128: GB/s of cache (fraction of copy)\n");
    for (const ElementType type : {ElementType::kF16, ElementType::kQ8_0}) {
      for (const auto& [sequences, tokens] :
           {std::pair{1, 4096}, {1, 32768}, {8, 4096}, {32, 4096}}) {
        const int context = tokens / divisor_;
        const Pair pair = attention_of(type, sequences, 1, context, [&] { return copy_rate(); });
        const double bytes =
            2.0 * 8 * context * sequences * static_cast<double>(*bytes_of(type, 128));
        std::printf("%-5s %3d x %5d tokens %8.0f (%3.0f %%)\n", traits_of(type).name.data(),
                    sequences, context, bytes / pair.work / 1e9,
                    100 * bytes / pair.work / pair.ceiling);
      }
    }
  }

  void attention_prefill() {
    std::printf("\nattention, prefill: T multiply-adds/s (fraction of mma.sync f16)\n");
    for (const auto& [whole, seen_by] : {std::pair{512, 512}, {2048, 2048}, {512, 8192}}) {
      const int tokens = whole / divisor_, context = seen_by / divisor_;
      const Pair pair =
          attention_of(ElementType::kF16, 1, tokens, context, [&] { return matrix_rate(); });
      const double seen = tokens * (context - tokens + (tokens + 1) / 2.0);
      const double rate = 2.0 * 32 * 128 * seen / pair.work;
      std::printf("%5d tokens at %5d %8.1f (%3.0f %%)\n", tokens, context, rate / 1e12,
                  100 * rate / pair.ceiling);
    }
  }

  int divisor_;
  int repetitions_;
  cudaDeviceProp gpu_;
  Timer timer_;
  std::unique_ptr<GpuProbe> probe_;
};

}  // namespace
}  // namespace tandem::cuda

int main(int argc, char** argv) {
  tandem::cuda::Bench(argc > 1 ? std::atoi(argv[1]) : 0, argc > 2 ? std::atoi(argv[2]) : 1).run();
}
