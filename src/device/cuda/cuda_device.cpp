#include <cstdlib>
#include <string>

#include "base/check.h"
#include "device/cuda/arena.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda/weight_upload.h"
#include "device/device.h"

namespace tandem {
namespace cuda {
namespace {

class CudaDevice : public Device {
 public:
  CudaDevice(DeviceInfo info, const GpuTraits& gpu, const CudaDeviceOptions& options,
             std::shared_ptr<Arena> arena)
      : info_(std::move(info)), gpu_(gpu), options_(options), arena_(std::move(arena)) {}

  const DeviceInfo& info() const override { return info_; }
  void bind_thread() override { (void)cudaSetDevice(gpu_.index); }

  Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes) override {
    return arena_->allocate(bytes);
  }

  Result<std::unique_ptr<Weight>> load_weight(const WeightSource& source) override {
    auto weight = upload_weight(source, *arena_, gpu_.index, options_.arithmetic);
    if (!weight.ok()) return weight.error().at(info_.id);
    return weight;
  }

  std::unique_ptr<Stream> create_stream() override {
    auto stream =
        CudaStream::create(info_.id, gpu_, options_.arithmetic, arena_, options_.scratch_bytes);
    // A context that was made has room for a stream; only a GPU that failed since has not.
    TANDEM_CHECK(stream.ok(), stream.error().to_string());
    return std::move(stream).value();
  }

 private:
  DeviceInfo info_;
  GpuTraits gpu_;
  CudaDeviceOptions options_;
  std::shared_ptr<Arena> arena_;
};

// The number of GPUs that CUDA sees; an error says why it sees none.
Result<int> count_gpus() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  (void)cudaGetLastError();  // the next call is not to find it
  if (error == cudaErrorInsufficientDriver) {
    int version = 0;
    if (cudaDriverGetVersion(&version) == cudaSuccess && version > 0) {
      int built = 0;
      (void)cudaRuntimeGetVersion(&built);
      return unsupported(
          {}, "the NVIDIA driver is too old",
          "one for CUDA " + std::to_string(built / 1000) + " or later",
          "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10));
    }
    return not_found(
        "no NVIDIA driver is installed or loaded; install the one for this GPU (nvidia-smi -L then "
        "lists it)");
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return not_found(
        "the NVIDIA driver sees no GPU: is CUDA_VISIBLE_DEVICES set, or does nvidia-smi -L list "
        "none?");
  }
  TANDEM_TRY_STATUS(status_of(error, "CUDA cannot be used"));
  return count;
}

Result<GpuTraits> traits_of_gpu(int index, cudaDeviceProp& properties) {
  TANDEM_CUDA_TRY(cudaGetDeviceProperties(&properties, index), "cannot ask the GPU what it is");
  GpuTraits traits;
  traits.index = index;
  traits.major = properties.major;
  traits.minor = properties.minor;
  traits.num_multiprocessors = properties.multiProcessorCount;
  traits.max_shared_bytes = static_cast<int>(properties.sharedMemPerBlockOptin);
  if (traits.major * 10 + traits.minor < 75) {
    return unsupported({}, "this GPU is too old", "compute capability 7.5 or later",
                       std::to_string(traits.major) + "." + std::to_string(traits.minor));
  }
  return traits;
}

// Kernels that are loaded when they are first started may wait for all that runs on the GPU, which
// may be a kernel that waits for another rank. Before CUDA starts; what the user has set stays.
void load_modules_at_once() {
  static const int result = setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  (void)result;
}

Result<std::unique_ptr<Device>> create(const std::string& id, const CudaDeviceOptions& options) {
  load_modules_at_once();
  TANDEM_TRY(const int count, count_gpus());
  if (options.gpu_index < 0 || options.gpu_index >= count) {
    return not_found("no such GPU, CUDA sees " + std::to_string(count));
  }
  cudaDeviceProp properties;
  TANDEM_TRY(const GpuTraits gpu, traits_of_gpu(options.gpu_index, properties));
  TANDEM_CHECK(options.num_parts > 0 && options.part >= 0 && options.part < options.num_parts,
               "a part of the GPU");
  DeviceInfo info;
  info.id = id;
  info.kind = DeviceKind::kCuda;
  info.name = properties.name;
  info.memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem) / options.num_parts;
  info.is_host_memory = false;
  TANDEM_TRY(auto arena, Arena::create(id, gpu.index, options.arena_bytes, info.memory_bytes));
  return std::unique_ptr<Device>(
      std::make_unique<CudaDevice>(std::move(info), gpu, options, std::move(arena)));
}

}  // namespace
}  // namespace cuda

Result<std::unique_ptr<Device>> create_cuda_device(std::string id,
                                                   const CudaDeviceOptions& options) {
  auto device = cuda::create(id, options);
  if (!device.ok() && device.error().where.empty()) return device.error().at(id);
  return device;
}

}  // namespace tandem
