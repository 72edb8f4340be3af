#include "device/cuda/scratch.h"

#include <algorithm>

#include "base/checked.h"
#include "device/cuda/capture_pause.h"
#include "device/cuda/cuda_error.h"

namespace tandem::cuda {
namespace {

constexpr std::int64_t kAlignment = 256;
constexpr std::int64_t kFirstBytes = 1 << 20;

}  // namespace

Scratch::~Scratch() {
  for (const Chunk& chunk : chunks_) cudaFree(chunk.memory);
}

Result<void*> Scratch::take(std::int64_t bytes) {
  const std::int64_t wanted = align_up(std::max<std::int64_t>(bytes, 1), kAlignment);
  if (chunks_.empty() || used_ + wanted > chunks_.back().bytes) {
    const std::int64_t grown = chunks_.empty() ? kFirstBytes : chunks_.back().bytes;
    // The whole op may need what it has already and this.
    const std::int64_t size = std::max(grown, align_up(used_ + wanted, kFirstBytes));
    void* memory = nullptr;
    const CapturePause pause;
    TANDEM_CUDA_TRY(cudaMalloc(&memory, static_cast<std::size_t>(size)),
                    "no memory for the scratch of an op");
    chunks_.push_back({memory, size});
    used_ = 0;
  }
  auto* taken = static_cast<std::byte*>(chunks_.back().memory) + used_;
  used_ += wanted;
  return static_cast<void*>(taken);
}

std::int64_t Scratch::size_bytes() const {
  std::int64_t total = 0;
  for (const Chunk& chunk : chunks_) total += chunk.bytes;
  return total;
}

}  // namespace tandem::cuda
