#include "device/cuda/arena.h"

#include <spdlog/spdlog.h>

#include "base/checked.h"
#include "base/units.h"
#include "device/cuda/cuda_error.h"
#include "tensor/gpu_memory.h"

namespace tandem::cuda {
namespace {

std::int64_t padded(std::int64_t bytes) {
  return align_up(bytes, kBufferAlignment);
}

// On the thread's GPU.
Result<void*> allocate_on_gpu(std::int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
  if (error != cudaSuccess) (void)cudaGetLastError();  // the next call is not to find it
  TANDEM_TRY_STATUS(status_of(error, "cannot allocate"));
  return memory;
}

// Other errors are the GPU's own, mostly of work before: no amount of memory would help.
bool is_want_of_memory(const Error& error) {
  return error.code == ErrorCode::kOutOfMemory;
}

}  // namespace

class Arena::Piece : public Buffer {
 public:
  Piece(std::shared_ptr<Arena> arena, void* memory, std::int64_t bytes)
      : arena_(std::move(arena)), memory_(memory), bytes_(bytes) {}
  ~Piece() override { arena_->free_piece(memory_, bytes_); }
  void* data() override { return memory_; }
  std::int64_t size_bytes() const override { return bytes_; }

 private:
  std::shared_ptr<Arena> arena_;
  void* memory_;
  std::int64_t bytes_;
};

Result<std::shared_ptr<Arena>> Arena::create(std::string device_id, int gpu,
                                             std::int64_t arena_bytes, std::int64_t limit_bytes) {
  std::shared_ptr<Arena> arena(new Arena(std::move(device_id), gpu, limit_bytes));
  if (arena_bytes == 0) return arena;
  if (arena_bytes > limit_bytes) return arena->no_room(arena_bytes);
  TANDEM_CUDA_TRY(cudaSetDevice(gpu), "cannot use the GPU");
  const auto memory = allocate_on_gpu(arena_bytes);
  if (!memory.ok()) {
    if (is_want_of_memory(memory.error())) return arena->no_room(arena_bytes);
    return memory.error().at(arena->device_id_);
  }
  arena->memory_ = static_cast<std::byte*>(*memory);
  arena->size_bytes_ = arena_bytes;
  arena->holes_[0] = arena_bytes;
  return arena;
}

Arena::~Arena() {
  if (memory_ == nullptr) return;
  (void)cudaSetDevice(gpu_);
  (void)cudaFree(memory_);
}

Error Arena::no_room(std::int64_t bytes) const {
  std::size_t free_bytes = 0, total_bytes = 0;
  (void)cudaSetDevice(gpu_);
  (void)cudaMemGetInfo(&free_bytes, &total_bytes);
  const std::int64_t left =
      std::min(static_cast<std::int64_t>(free_bytes), limit_bytes_ - used_bytes_);
  return {ErrorCode::kOutOfMemory, "not enough memory on the device", device_id_,
          "at most " + format_bytes(std::max<std::int64_t>(left, 0)), format_bytes(bytes)};
}

Result<std::unique_ptr<Buffer>> Arena::allocate(std::int64_t bytes) {
  if (bytes < 0)
    return invalid_argument("negative buffer size", "0 or more", std::to_string(bytes));
  void* memory = nullptr;
  if (bytes > 0) {
    const std::lock_guard lock(mutex_);
    if (used_bytes_ + padded(bytes) > padded(limit_bytes_)) return no_room(bytes);
    memory = cut(padded(bytes));
    if (memory == nullptr) {
      TANDEM_TRY(memory, allocate_beside(bytes));
    }
    used_bytes_ += padded(bytes);
  }
  return std::unique_ptr<Buffer>(std::make_unique<Piece>(shared_from_this(), memory, bytes));
}

void* Arena::cut(std::int64_t bytes) {
  for (const auto& [offset, size] : holes_) {
    if (size < bytes) continue;
    void* memory = memory_ + offset;
    const std::int64_t rest_begin = offset + bytes, rest = size - bytes;
    holes_.erase(offset);
    if (rest > 0) holes_[rest_begin] = rest;
    return memory;
  }
  return nullptr;
}

Result<void*> Arena::allocate_beside(std::int64_t bytes) {
  if (size_bytes_ > 0 && !has_overflowed_) {
    has_overflowed_ = true;
    spdlog::warn("{}: {} more than the {} that the plan reckoned with", device_id_,
                 format_bytes(bytes), format_bytes(size_bytes_));
  }
  (void)cudaSetDevice(gpu_);
  auto memory = allocate_on_gpu(bytes);
  if (memory.ok()) return memory;
  return is_want_of_memory(memory.error()) ? no_room(bytes) : memory.error().at(device_id_);
}

void Arena::free_piece(void* memory, std::int64_t bytes) {
  if (memory == nullptr) return;
  const std::lock_guard lock(mutex_);
  used_bytes_ -= padded(bytes);
  const auto* begin = static_cast<std::byte*>(memory);
  if (memory_ == nullptr || begin < memory_ || begin >= memory_ + size_bytes_) {
    (void)cudaSetDevice(gpu_);
    (void)cudaFree(memory);
    return;
  }
  std::int64_t offset = begin - memory_, size = padded(bytes);
  auto next = holes_.lower_bound(offset);
  if (next != holes_.end() && next->first == offset + size) {
    size += next->second;
    next = holes_.erase(next);
  }
  if (next != holes_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      offset = previous->first;
      size += previous->second;
      holes_.erase(previous);
    }
  }
  holes_[offset] = size;
}

}  // namespace tandem::cuda
