#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/result.h"

namespace tandem {

// A piece of host memory, 64-byte aligned, zero when new; large ones on huge pages where the system
// offers them. Pages become resident when they are first touched.
class HostMemory {
 public:
  // kOutOfMemory says how much was asked for and how much there is. 0 bytes are allowed.
  static Result<HostMemory> allocate(std::int64_t bytes);

  HostMemory() = default;
  ~HostMemory();
  HostMemory(HostMemory&& other) noexcept { swap(other); }
  HostMemory& operator=(HostMemory&& other) noexcept {
    swap(other);
    return *this;
  }

  void* data() const { return data_; }
  std::int64_t size_bytes() const { return size_bytes_; }

 private:
  HostMemory(void* data, std::int64_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  void swap(HostMemory& other) {
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
  }

  void* data_ = nullptr;
  std::int64_t size_bytes_ = 0;  // as asked for
};

// Memory of this machine that could be given out now, in bytes (MemAvailable); at most the physical
// memory, which is also the answer where the system does not say.
std::int64_t available_host_memory_bytes();
std::int64_t physical_host_memory_bytes();

}  // namespace tandem
