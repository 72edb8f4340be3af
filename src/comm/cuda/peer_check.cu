#include "comm/cuda/peer_check.h"

#include <set>

#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/stream_wait.h"
#include "device/cuda/system_memory.h"

namespace tandem::cuda {
namespace {

constexpr std::uint32_t kWords = 64 * 1024;  // more than a page, a TLB's reach of small pages
constexpr std::size_t kBytes = kWords * sizeof(std::uint32_t);
constexpr int kThreads = 256;
constexpr int kBlocks = 8;
constexpr std::int64_t kDeadlineUs = 5'000'000;

// No two words alike, and none that memory happens to hold (Steele, Lea and Flood, "Fast Splittable
// Pseudorandom Number Generators", the 32-bit finalizer of MurmurHash3).
__host__ __device__ inline std::uint32_t word_at(std::uint32_t index, std::uint32_t seed) {
  std::uint32_t x = index * 2654435761u + seed;
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

__global__ void write_words_kernel(unsigned* words, std::uint32_t seed) {
  for (std::uint32_t i = blockIdx.x * kThreads + threadIdx.x; i < kWords; i += kBlocks * kThreads) {
    store_shared(words + i, word_at(i, seed));
  }
}

// Memory and a stream of one GPU.
class Side {
 public:
  explicit Side(int gpu) : gpu_(gpu) {}
  ~Side() {
    (void)cudaSetDevice(gpu_);
    (void)cudaFree(memory_);
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  Status open() {
    TANDEM_CUDA_TRY(cudaSetDevice(gpu_), "cannot use the GPU");
    TANDEM_CUDA_TRY(cudaMalloc(&memory_, kBytes), "no memory to try peer access with");
    TANDEM_CUDA_TRY(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                    "cannot make a stream");
    return {};
  }
  Status clear() {
    TANDEM_CUDA_TRY(cudaSetDevice(gpu_), "cannot use the GPU");
    TANDEM_CUDA_TRY(cudaMemsetAsync(memory_, 0, kBytes, stream_), "cannot clear memory");
    return wait();
  }
  // Writes the words of `seed` to `to`, by a kernel of this GPU.
  Status write_to(void* to, std::uint32_t seed) {
    TANDEM_CUDA_TRY(cudaSetDevice(gpu_), "cannot use the GPU");
    TANDEM_CUDA_TRY(launch(stream_, write_words_kernel, {dim3(kBlocks), dim3(kThreads)},
                           static_cast<unsigned*>(to), seed),
                    "cannot start a kernel");
    return wait();
  }
  Status copy_to(const Side& other) {
    TANDEM_CUDA_TRY(cudaSetDevice(gpu_), "cannot use the GPU");
    TANDEM_CUDA_TRY(cudaMemcpyPeerAsync(other.memory_, other.gpu_, memory_, gpu_, kBytes, stream_),
                    "cannot copy to another GPU");
    return wait();
  }
  Result<bool> holds(std::uint32_t seed) {
    std::vector<std::uint32_t> words(kWords);
    TANDEM_CUDA_TRY(cudaSetDevice(gpu_), "cannot use the GPU");
    TANDEM_CUDA_TRY(cudaMemcpy(words.data(), memory_, kBytes, cudaMemcpyDeviceToHost),
                    "cannot copy to the host");
    for (std::uint32_t i = 0; i < kWords; ++i) {
      if (words[i] != word_at(i, seed)) return false;
    }
    return true;
  }
  void* memory() const { return memory_; }

 private:
  Status wait() { return wait_for_stream(stream_, kDeadlineUs, "GPU " + std::to_string(gpu_)); }

  int gpu_;
  void* memory_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

// May kernels of `from` address the memory of `to`? Says so to the driver.
Result<bool> enable_access(int from, int to) {
  int can = 0;
  TANDEM_CUDA_TRY(cudaDeviceCanAccessPeer(&can, from, to), "cannot ask for peer access");
  if (can == 0) return false;
  TANDEM_CUDA_TRY(cudaSetDevice(from), "cannot use the GPU");
  const cudaError_t error = cudaDeviceEnablePeerAccess(to, 0);
  if (error != cudaSuccess) (void)cudaGetLastError();
  return error == cudaSuccess || error == cudaErrorPeerAccessAlreadyEnabled;
}

// What is wrong with what `from` writes into the memory of `to`; empty: nothing.
Result<std::string> find_fault(int from, int to) {
  const std::string pair = "GPU " + std::to_string(from) + " ";
  const std::string other = "GPU " + std::to_string(to);
  TANDEM_TRY(const bool enabled, enable_access(from, to));
  if (!enabled) return pair + "cannot reach the memory of " + other;
  Side sender(from), receiver(to);
  TANDEM_TRY_STATUS(sender.open());
  TANDEM_TRY_STATUS(receiver.open());
  const auto seed = static_cast<std::uint32_t>(from * 64 + to + 1);
  TANDEM_TRY_STATUS(receiver.clear());
  TANDEM_TRY_STATUS(sender.write_to(receiver.memory(), seed));
  TANDEM_TRY(const bool stored, receiver.holds(seed));
  if (!stored) return pair + "may write into the memory of " + other + ", but it does not arrive";
  TANDEM_TRY_STATUS(sender.write_to(sender.memory(), seed + 1));
  TANDEM_TRY_STATUS(receiver.clear());
  TANDEM_TRY_STATUS(sender.copy_to(receiver));
  TANDEM_TRY(const bool copied, receiver.holds(seed + 1));
  if (!copied) return pair + "may copy into the memory of " + other + ", but it does not arrive";
  return std::string();
}

}  // namespace

Result<std::vector<std::string>> find_peer_faults(const std::vector<int>& gpus) {
  std::vector<std::string> faults;
  const std::set<int> distinct(gpus.begin(), gpus.end());
  for (const int from : distinct) {
    for (const int to : distinct) {
      if (from == to) continue;
      TANDEM_TRY(std::string fault, find_fault(from, to));
      if (!fault.empty()) faults.push_back(std::move(fault));
    }
  }
  return faults;
}

}  // namespace tandem::cuda
