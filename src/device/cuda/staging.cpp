#include "device/cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "device/cuda/capture_pause.h"
#include "device/cuda/cuda_error.h"

namespace tandem::cuda {
namespace {

constexpr std::int64_t kAlignment = 256;
constexpr std::int64_t kLeastHalfBytes = 1 << 20;
constexpr std::int64_t kLeastInputBytes = 4096;
// The logits of 64 sequences and a vocabulary of 128k. What is larger is evaluation, not serving.
constexpr std::int64_t kDownloadBytes = std::int64_t{32} << 20;

}  // namespace

UploadRing::~UploadRing() {
  release();
}

void UploadRing::release() {
  for (Half& half : halves_) {
    if (half.is_recorded) (void)cudaEventSynchronize(half.passed);
    if (half.passed != nullptr) (void)cudaEventDestroy(half.passed);
    if (half.memory != nullptr) (void)cudaFreeHost(half.memory);
    half = {};
  }
}

Status UploadRing::grow(cudaStream_t stream, std::int64_t bytes) {
  // Rare: what is under way is waited for.
  if (half_bytes_ > 0) TANDEM_CUDA_TRY(cudaStreamSynchronize(stream), "cannot stage a copy");
  release();
  half_bytes_ = std::max(kLeastHalfBytes, align_up(bytes, kLeastHalfBytes));
  used_ = 0;
  current_ = 0;
  for (Half& half : halves_) {
    void* memory = nullptr;
    TANDEM_CUDA_TRY(
        cudaHostAlloc(&memory, static_cast<std::size_t>(half_bytes_), cudaHostAllocDefault),
        "no page-locked memory for copies");
    half.memory = static_cast<std::byte*>(memory);
    TANDEM_CUDA_TRY(cudaEventCreateWithFlags(&half.passed, cudaEventDisableTiming),
                    "cannot make an event");
  }
  return {};
}

Status UploadRing::begin_step(cudaStream_t stream) {
  return half_bytes_ == 0 ? Status() : begin_half(stream);
}

Status UploadRing::begin_half(cudaStream_t stream) {
  Half& left = halves_[current_];
  TANDEM_CUDA_TRY(cudaEventRecord(left.passed, stream), "cannot record an event");
  left.is_recorded = true;
  current_ = 1 - current_;
  used_ = 0;
  Half& entered = halves_[current_];
  if (!entered.is_recorded) return {};
  return status_of(cudaEventSynchronize(entered.passed), "a copy to the device failed");
}

Result<void*> UploadRing::take(cudaStream_t stream, std::int64_t bytes) {
  const std::int64_t wanted = align_up(std::max<std::int64_t>(bytes, 1), kAlignment);
  if (wanted > half_bytes_) TANDEM_TRY_STATUS(grow(stream, wanted));
  if (used_ + wanted > half_bytes_) TANDEM_TRY_STATUS(begin_half(stream));
  std::byte* memory = halves_[current_].memory + used_;
  used_ += wanted;
  return static_cast<void*>(memory);
}

Result<const void*> StagedInput::upload(cudaStream_t stream, UploadRing& ring,
                                        std::span<const std::byte> bytes) {
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (!memory_.empty() && last_.size() == bytes.size() &&
      std::memcmp(last_.data(), bytes.data(), bytes.size()) == 0) {
    return static_cast<const void*>(memory_.back()->data());
  }
  if (memory_.empty() || size > memory_.back()->size_bytes()) {
    const CapturePause pause;
    TANDEM_TRY(auto memory,
               arena_->allocate(std::max(kLeastInputBytes, align_up(2 * size, kLeastInputBytes))));
    memory_.push_back(std::move(memory));
  }
  last_.clear();  // unknown, should something fail now
  TANDEM_TRY(void* staged, ring.take(stream, size));
  std::memcpy(staged, bytes.data(), bytes.size());
  TANDEM_CUDA_TRY(
      cudaMemcpyAsync(memory_.back()->data(), staged, bytes.size(), cudaMemcpyHostToDevice, stream),
      "cannot copy to the device");
  last_.assign(bytes.begin(), bytes.end());
  return static_cast<const void*>(memory_.back()->data());
}

Downloads::~Downloads() {
  if (memory_ != nullptr) (void)cudaFreeHost(memory_);
}

Status Downloads::enqueue(cudaStream_t stream, void* host, const void* device, std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes);
  if (memory_ == nullptr) {
    const CapturePause pause;
    void* memory = nullptr;
    TANDEM_CUDA_TRY(
        cudaHostAlloc(&memory, static_cast<std::size_t>(kDownloadBytes), cudaHostAllocDefault),
        "no page-locked memory for copies");
    memory_ = static_cast<std::byte*>(memory);
  }
  if (used_ + bytes > kDownloadBytes) {
    return status_of(cudaMemcpyAsync(host, device, size, cudaMemcpyDeviceToHost, stream),
                     "cannot copy from the device");
  }
  TANDEM_CUDA_TRY(cudaMemcpyAsync(memory_ + used_, device, size, cudaMemcpyDeviceToHost, stream),
                  "cannot copy from the device");
  pieces_.push_back({host, used_, bytes});
  used_ += align_up(bytes, kAlignment);
  return {};
}

void Downloads::deliver(std::int64_t count) {
  const auto due =
      std::clamp<std::int64_t>(count - first_, 0, static_cast<std::int64_t>(pieces_.size()));
  for (std::int64_t i = 0; i < due; ++i) {
    const Piece& piece = pieces_[static_cast<std::size_t>(i)];
    std::memcpy(piece.host, memory_ + piece.offset, static_cast<std::size_t>(piece.bytes));
  }
  pieces_.erase(pieces_.begin(), pieces_.begin() + due);
  first_ += due;
  if (pieces_.empty()) used_ = 0;
}

}  // namespace tandem::cuda
