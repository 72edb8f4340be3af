#include "device/cpu/weight_arena.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/checked.h"
#include "base/units.h"

namespace tandem {
namespace {

// Pages become resident when they are touched: what is left of a slab costs addresses only.
constexpr std::int64_t kSlabBytes = 256 * kMiB;
constexpr std::int64_t kLineBytes = 64;

std::shared_ptr<std::byte> map_slab(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes);
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  // Fewer page faults at load and fewer TLB misses in every step; a refusal costs only that.
  madvise(data, size, MADV_HUGEPAGE);
  return {static_cast<std::byte*>(data), [size](std::byte* slab) { munmap(slab, size); }};
}

}  // namespace

Result<WeightArena::Piece> WeightArena::allocate(std::int64_t bytes) {
  const auto padded = checked_add(bytes, kLineBytes - 1);
  if (!padded) return Error{ErrorCode::kOutOfMemory, "no memory for a weight", "host", {}, {}};
  const std::int64_t taken = *padded / kLineBytes * kLineBytes;
  if (taken > slab_bytes_ - used_bytes_) {
    const std::int64_t size = std::max(taken, kSlabBytes);
    auto slab = map_slab(size);
    if (slab == nullptr) {
      return Error{
          ErrorCode::kOutOfMemory, "no memory for a weight", "host", format_bytes(bytes), {}};
    }
    slab_ = std::move(slab);
    slab_bytes_ = size;
    used_bytes_ = 0;
  }
  std::byte* data = slab_.get() + used_bytes_;
  used_bytes_ += taken;
  return Piece{data, slab_};
}

}  // namespace tandem
