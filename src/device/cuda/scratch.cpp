#include "device/cuda/scratch.h"

#include <algorithm>

#include "base/checked.h"
#include "device/cuda/capture_pause.h"
#include "tensor/gpu_memory.h"

namespace tandem::cuda {
namespace {

constexpr std::int64_t kGrowth = 1 << 20;

}  // namespace

Scratch::Scratch(std::shared_ptr<Arena> arena, std::int64_t first_bytes)
    : arena_(std::move(arena)), first_bytes_(first_bytes > 0 ? first_bytes : kGrowth) {}

Result<void*> Scratch::take(std::int64_t bytes) {
  const std::int64_t wanted = align_up(std::max<std::int64_t>(bytes, 1), kBufferAlignment);
  const std::int64_t had = chunks_.empty() ? 0 : chunks_.back()->size_bytes();
  if (used_ + wanted > had) {
    // The whole op may need what it has already and this.
    const std::int64_t needed = used_ + wanted;
    const std::int64_t size = chunks_.empty() && needed <= first_bytes_
                                  ? first_bytes_
                                  : std::max(had, align_up(needed, kGrowth));
    const CapturePause pause;
    TANDEM_TRY(auto chunk, arena_->allocate(size));
    chunks_.push_back(std::move(chunk));
    used_ = 0;
  }
  auto* taken = static_cast<std::byte*>(chunks_.back()->data()) + used_;
  used_ += wanted;
  return static_cast<void*>(taken);
}

}  // namespace tandem::cuda
