#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"

namespace tandem {

// Memory for the weights of one device, in the order in which they are loaded, each right behind
// the one before: they share huge pages where those are offered (a weight of its own would leave
// small pages at both ends, which are slow to come and slow to read), and what a kernel fetches
// ahead at the end of one matrix is the beginning of the next. Used by one thread at a time.
class WeightArena {
 public:
  struct Piece {
    std::byte* data = nullptr;           // 64-byte aligned, zero
    std::shared_ptr<const void> memory;  // keeps it
  };
  // `bytes` > 0. Memory that no piece holds any more goes back to the system. kOutOfMemory says how
  // much was asked for.
  Result<Piece> allocate(std::int64_t bytes);

 private:
  std::shared_ptr<std::byte> slab_;
  std::int64_t slab_bytes_ = 0;
  std::int64_t used_bytes_ = 0;
};

}  // namespace tandem
