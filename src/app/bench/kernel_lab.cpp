#include "app/bench/kernel_lab.h"

#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstring>
#include <numeric>
#include <thread>

#include "base/clock.h"
#include "tensor/quantise.h"

namespace tandem {
namespace {

constexpr std::int64_t kSourceRows = 64;  // of numbers, repeated for every matrix
constexpr std::int64_t kDeadlineUs = 60'000'000;
constexpr std::int64_t kMostTimes = 100'000;
constexpr std::int64_t kCachedBytes = 300'000;  // of a weight that stays in a core's second cache
constexpr std::int64_t kFewestRows = 64;        // of a weight

// Numbers between -1 and 1 without a pattern that a kernel could profit from.
float number(std::int64_t index) {
  const auto mixed = static_cast<std::uint64_t>(index) * 0x9E3779B97F4A7C15u;
  return static_cast<float>(static_cast<std::int32_t>(mixed >> 32)) * 0x1p-31f;
}

Result<KernelLab::Bench> open_bench(const MachineDevice& device,
                                    const std::string& instruction_set) {
  KernelLab::Bench bench;
  CpuDeviceOptions options;
  options.cores = device.cores;
  options.instruction_set = instruction_set;
  TANDEM_TRY(bench.device, create_cpu_device(device.id, options));
  bench.stream = bench.device->create_stream();
  constexpr std::int64_t kRows = KernelLab::kMostRows;
  TANDEM_TRY(bench.x, bench.device->allocate(kRows * KernelLab::kColumns * 4));
  TANDEM_TRY(bench.y, bench.device->allocate(kRows * KernelLab::kWidth * 4));
  TANDEM_TRY(bench.zeros, bench.device->allocate(kRows * 2 * KernelLab::kWidth * 4));
  for (std::int64_t i = 0; i < kRows * KernelLab::kColumns; ++i) bench.x->floats()[i] = number(i);
  for (Buffer* buffer : {bench.y.get(), bench.zeros.get()}) {
    std::memset(buffer->data(), 0, static_cast<std::size_t>(buffer->size_bytes()));
  }
  return bench;
}

}  // namespace

Result<KernelLab> KernelLab::open(const std::vector<MachineDevice>& devices,
                                  const std::string& instruction_set) {
  KernelLab lab;
  for (const MachineDevice& device : devices) {
    TANDEM_TRY(Bench bench, open_bench(device, instruction_set));
    lab.benches_.push_back(std::move(bench));
    lab.num_cores_ = std::max(lab.num_cores_, device.cores.size());
  }
  if (devices.size() < 2) return lab;
  LocalGroupOptions group;
  group.size = static_cast<int>(devices.size());
  group.max_bytes = kMostRows * kColumns * 4;
  auto seats = create_local_group(group);
  for (std::size_t i = 0; i < devices.size(); ++i) lab.benches_[i].seat = std::move(seats[i]);
  return lab;
}

Status KernelLab::load_weights(ElementType type, std::int64_t bytes) {
  drop_weights();
  std::vector<float> values(static_cast<std::size_t>(kSourceRows * kColumns));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = number(static_cast<std::int64_t>(i));
  const std::int64_t row_bytes = bytes_of(type, kColumns).value_or(0);
  std::vector<std::byte> blocks(static_cast<std::size_t>(kSourceRows * row_bytes));
  quantise(type, values, blocks);
  WeightSource source;
  source.type = type;
  source.rows = kWidth;
  source.columns = kColumns;
  source.row_bytes = [&](std::int64_t, std::int64_t row) {
    return std::span<const std::byte>(blocks).subspan(
        static_cast<std::size_t>(row % kSourceRows * row_bytes),
        static_cast<std::size_t>(row_bytes));
  };
  const std::int64_t count = std::max<std::int64_t>(1, bytes / (row_bytes * kWidth));
  WeightSource small = source;
  const auto cores = static_cast<std::int64_t>(num_cores_);
  while (small.rows > kFewestRows * cores && small.rows * row_bytes > kCachedBytes * cores) {
    small.rows /= 2;
  }
  const auto seconds = run(benches_.size(), 1, [&](Bench& bench) -> Status {
    for (std::int64_t i = 0; i < count; ++i) {
      TANDEM_TRY(auto weight, bench.device->load_weight(source));
      bench.weights.push_back(std::move(weight));
    }
    TANDEM_TRY(bench.cached, bench.device->load_weight(small));
    return {};
  });
  return seconds.ok() ? Status{} : seconds.error();
}

void KernelLab::drop_weights() {
  for (Bench& bench : benches_) {
    bench.weights.clear();
    bench.cached.reset();
    bench.next_weight = 0;
  }
}

Status KernelLab::allocate_cache(std::int64_t bytes) {
  for (Bench& bench : benches_) {
    TANDEM_TRY(bench.cache, bench.device->allocate(bytes));
    std::memset(bench.cache->data(), 0, static_cast<std::size_t>(bytes));
  }
  return {};
}

Result<std::vector<double>> KernelLab::run(std::size_t count, std::int64_t times,
                                           const Work& work) {
  std::vector<Status> outcome(count);
  std::vector<double> seconds(count);
  std::barrier start(static_cast<std::ptrdiff_t>(count));
  const auto side = [&](std::size_t index) {
    Bench& bench = benches_[index];
    bench.device->bind_thread();
    start.arrive_and_wait();
    const std::int64_t began = monotonic_ns();
    for (std::int64_t i = 0; i < times && outcome[index].ok(); ++i) outcome[index] = work(bench);
    if (outcome[index].ok()) outcome[index] = bench.stream->synchronize(kDeadlineUs);
    seconds[index] = 1e-9 * static_cast<double>(monotonic_ns() - began);
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) threads.emplace_back(side, i);
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : outcome) TANDEM_TRY_STATUS(status);
  return seconds;
}

Result<double> KernelLab::seconds_of(std::size_t count, double seconds, const Work& work) {
  TANDEM_TRY(const auto once, run(count, 1, work));
  const double longest = std::max(1e-7, *std::max_element(once.begin(), once.end()));
  const auto times =
      std::clamp<std::int64_t>(std::llround(std::ceil(seconds / longest)), 1, kMostTimes);
  TANDEM_TRY(const auto all, run(count, times, work));
  return std::accumulate(all.begin(), all.end(), 0.0) /
         (static_cast<double>(times) * static_cast<double>(count));
}

Status multiply_cached(KernelLab::Bench& bench, std::int64_t rows) {
  const MatrixView y = dense(bench.y->floats(), rows, KernelLab::kWidth);
  const std::int64_t width = bench.cached->rows();
  std::vector<MatmulTarget> targets;  // of one x, which is rounded once, as in a layer
  for (std::int64_t at = 0; at < KernelLab::kWidth; at += width) {
    targets.push_back({bench.cached.get(), nullptr, y.slice_columns(at, width)});
  }
  bench.stream->matmul(dense(bench.x->floats(), rows, KernelLab::kColumns), targets);
  return {};
}

Status multiply(KernelLab::Bench& bench, std::int64_t rows) {
  const Weight& weight = *bench.weights[bench.next_weight];
  bench.next_weight = (bench.next_weight + 1) % bench.weights.size();
  const MatmulTarget target{&weight, nullptr, dense(bench.y->floats(), rows, KernelLab::kWidth)};
  bench.stream->matmul(dense(bench.x->floats(), rows, KernelLab::kColumns), {&target, 1});
  return {};
}

}  // namespace tandem
