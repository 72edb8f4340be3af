#include "device/gpu_probe.h"

#include <algorithm>
#include <array>
#include <functional>

#include "device/cuda/cuda_error.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda/probe_kernels.h"

namespace tandem {
namespace cuda {
namespace {

constexpr std::int64_t kDeadlineUs = 30'000'000;
constexpr std::int64_t kLeastBytes = std::int64_t{16} << 20;
// A launch that takes so long hides what starting it costs.
constexpr double kLaunchSeconds = 0.004;
constexpr int kMostRepetitions = 1 << 24;

struct ReadPattern {
  std::string_view name;
  int loads;  // in flight in each thread; 0: a copy
};
constexpr std::array<ReadPattern, 4> kReadPatterns = {
    {{"16 bytes a thread", 1}, {"64 bytes a thread", 4}, {"128 bytes a thread", 8}, {"copied", 0}}};

class CudaProbe : public GpuProbe {
 public:
  CudaProbe(std::unique_ptr<Device> device, std::unique_ptr<Stream> stream,
            std::unique_ptr<Buffer> memory)
      : device_(std::move(device)),
        stream_(std::move(stream)),
        memory_(std::move(memory)),
        shape_{cuda_stream_of(*stream_).context().gpu.num_multiprocessors},
        half_(memory_->size_bytes() / 2) {}

  int num_read_patterns() const override { return static_cast<int>(kReadPatterns.size()); }
  std::string_view read_pattern(int index) const override {
    return kReadPatterns[static_cast<std::size_t>(index)].name;
  }

  Result<double> read_gbps(int pattern, double seconds) override {
    const auto index = static_cast<std::size_t>(pattern);
    const int loads = kReadPatterns[index].loads;
    const auto work = [&](int passes) {
      return loads == 0 ? probe_copy(raw(), shape_, bytes() + half_, bytes(), half_, passes)
                        : probe_read(raw(), shape_, bytes(), 2 * half_, passes, loads, sink());
    };
    TANDEM_TRY(const double passes, per_second(work, seconds, read_passes_[index]));
    return 1e-9 * passes * 2 * static_cast<double>(half_);
  }

  Result<double> product_gops(ProductKind kind, double seconds) override {
    const auto work = [&](int rounds) {
      switch (kind) {
        case ProductKind::kInt8:
          return probe_int8_products(raw(), shape_, rounds, sink());
        case ProductKind::kBf16:
          return probe_f16_products(raw(), shape_, rounds, sink());
        case ProductKind::kFloat:
          break;
      }
      return probe_float_products(raw(), shape_, rounds, sink());
    };
    const double operations = kind == ProductKind::kInt8   ? int8_operations(shape_, 1)
                              : kind == ProductKind::kBf16 ? f16_operations(shape_, 1)
                                                           : float_operations(shape_, 1);
    TANDEM_TRY(const double rounds,
               per_second(work, seconds, product_rounds_[static_cast<std::size_t>(kind)]));
    return 1e-9 * rounds * operations;
  }

 private:
  using Work = std::function<cudaError_t(int repetitions)>;

  cudaStream_t raw() const { return cuda_stream_of(*stream_).context().stream; }
  std::byte* bytes() const { return static_cast<std::byte*>(memory_->data()); }
  std::uint32_t* sink() const { return static_cast<std::uint32_t*>(memory_->data()); }

  // Seconds that the GPU takes for one launch.
  Result<double> launch_seconds(const Work& work, int repetitions) const {
    const auto begin = stream_->record();
    TANDEM_CUDA_TRY(work(repetitions), "cannot start a loop of the ceilings");
    const auto end = stream_->record();
    TANDEM_TRY_STATUS(end->wait(kDeadlineUs));
    return std::max(1e-9, end->seconds_since(*begin));
  }

  // Repetitions a second, over launches of about `seconds` together. `chunk`: of one launch; 0: not
  // known yet.
  Result<double> per_second(const Work& work, double seconds, int& chunk) const {
    device_->bind_thread();
    const double enough = std::min(kLaunchSeconds, seconds);
    if (chunk == 0) {
      for (chunk = 1; chunk < kMostRepetitions;) {
        TANDEM_TRY(const double once, launch_seconds(work, chunk));
        if (once >= enough / 2) break;
        chunk = static_cast<int>(chunk * std::clamp(enough / once, 2.0, 64.0));
      }
    }
    double spent = 0;
    double repetitions = 0;
    while (spent < seconds) {
      TANDEM_TRY(const double once, launch_seconds(work, chunk));
      spent += once;
      repetitions += chunk;
    }
    return repetitions / spent;
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Buffer> memory_;  // two halves
  ProbeShape shape_;
  std::int64_t half_;
  std::array<int, kReadPatterns.size()> read_passes_ = {};  // of a launch
  std::array<int, 3> product_rounds_ = {};
};

Result<std::unique_ptr<GpuProbe>> create(const std::string& id, int gpu_index) {
  CudaDeviceOptions options;
  options.gpu_index = gpu_index;
  TANDEM_TRY(auto device, create_cuda_device(id, options));
  device->bind_thread();
  cudaDeviceProp properties;
  TANDEM_CUDA_TRY(cudaGetDeviceProperties(&properties, gpu_index), "cannot ask the GPU what it is");
  const std::int64_t bytes =
      std::max<std::int64_t>(4 * std::int64_t{properties.l2CacheSize}, kLeastBytes) / 32 * 32;
  TANDEM_TRY(auto memory, device->allocate(bytes));
  auto stream = device->create_stream();
  stream->fill_zero(memory->data(), bytes);
  TANDEM_TRY_STATUS(stream->synchronize(kDeadlineUs));
  return std::unique_ptr<GpuProbe>(
      std::make_unique<CudaProbe>(std::move(device), std::move(stream), std::move(memory)));
}

}  // namespace
}  // namespace cuda

Result<std::unique_ptr<GpuProbe>> create_gpu_probe(const std::string& id, int gpu_index) {
  auto probe = cuda::create(id, gpu_index);
  if (!probe.ok() && probe.error().where.empty()) return probe.error().at(id);
  return probe;
}

}  // namespace tandem
