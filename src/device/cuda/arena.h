#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "device/device.h"

namespace tandem::cuda {

// The device memory of one rank: one cudaMalloc that buffers are cut from, as large as the plan
// reckoned. A buffer that does not fit is an allocation of its own; the first one says so in the
// log, because the plan was wrong then. Thread-safe.
class Arena : public std::enable_shared_from_this<Arena> {
 public:
  // gpu: the GPU that the memory is on. arena_bytes: 0 for none. limit_bytes: what all buffers
  // together may take. kOutOfMemory says how much was asked for and how much there is.
  static Result<std::shared_ptr<Arena>> create(std::string device_id, int gpu,
                                               std::int64_t arena_bytes, std::int64_t limit_bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // 256-byte aligned. The buffer keeps the arena alive. Zero bytes are a buffer without memory.
  Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes);

 private:
  class Piece;
  Arena(std::string device_id, int gpu, std::int64_t limit_bytes)
      : device_id_(std::move(device_id)), gpu_(gpu), limit_bytes_(limit_bytes) {}

  Error no_room(std::int64_t bytes) const;
  void* cut(std::int64_t bytes);  // nullptr where no hole is large enough
  Result<void*> allocate_beside(std::int64_t bytes);
  void free_piece(void* memory, std::int64_t bytes);

  std::string device_id_;
  int gpu_;
  std::int64_t limit_bytes_;
  std::byte* memory_ = nullptr;
  std::int64_t size_bytes_ = 0;
  std::mutex mutex_;
  std::map<std::int64_t, std::int64_t> holes_;  // offset -> bytes; no two touch
  std::int64_t used_bytes_ = 0;
  bool has_overflowed_ = false;
};

}  // namespace tandem::cuda
