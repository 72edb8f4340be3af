#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/cuda/arena.h"
#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// Page-locked host memory on its way to the device: the bytes of a caller are copied here at once,
// so that they may change, and from here by the stream, without a wait of the host. A ring of two
// halves; one is written again when the stream has passed everything in it, for which the host
// waits only where the stream is a whole half behind. Grows to the largest piece.
class UploadRing {
 public:
  UploadRing() = default;
  ~UploadRing();
  UploadRing(const UploadRing&) = delete;
  UploadRing& operator=(const UploadRing&) = delete;

  // Page-locked memory for `bytes` that the caller fills and copies from, on `stream`, before the
  // next call.
  Result<void*> take(cudaStream_t stream, std::int64_t bytes);
  // A step that is recorded begins: it gets a half of its own, because inside a recording the host
  // cannot wait. A half holds what a step of decoding uploads.
  Status begin_step(cudaStream_t stream);

 private:
  struct Half {
    std::byte* memory = nullptr;
    cudaEvent_t passed = nullptr;
    bool is_recorded = false;
  };
  Status grow(cudaStream_t stream, std::int64_t bytes);
  Status begin_half(cudaStream_t stream);
  void release();

  Half halves_[2];
  std::int64_t half_bytes_ = 0;
  std::int64_t used_ = 0;
  int current_ = 0;
};

// A small array of the host that every layer of a step hands in anew (block tables, slots): copied
// to the device only where it differs from what is there. The device address changes only when the
// array outgrows its memory; what it had before stays allocated, for work that is under way.
class StagedInput {
 public:
  explicit StagedInput(std::shared_ptr<Arena> arena) : arena_(std::move(arena)) {}

  // The device copy of `bytes`, in the order of `stream`; 256-byte aligned.
  Result<const void*> upload(cudaStream_t stream, UploadRing& ring,
                             std::span<const std::byte> bytes);

 private:
  std::shared_ptr<Arena> arena_;
  std::vector<std::unique_ptr<Buffer>> memory_;  // the last one is in use
  std::vector<std::byte> last_;                  // what is on the device
};

// Page-locked memory for what comes back: the stream copies into it, and the host moves it on to
// where it was wanted once the stream has passed. Used by one thread.
class Downloads {
 public:
  Downloads() = default;
  ~Downloads();
  Downloads(const Downloads&) = delete;
  Downloads& operator=(const Downloads&) = delete;

  // Enqueues a copy to `host`, which has its bytes after deliver(). Pieces that find no room here
  // are copied straight to `host`, which may block.
  Status enqueue(cudaStream_t stream, void* host, const void* device, std::int64_t bytes);
  // The number of pieces enqueued so far.
  std::int64_t enqueued() const { return first_ + static_cast<std::int64_t>(pieces_.size()); }
  // Moves pieces [.., count) to where they were wanted. The stream must have passed them.
  void deliver(std::int64_t count);

 private:
  struct Piece {
    void* host;
    std::int64_t offset;
    std::int64_t bytes;
  };
  std::byte* memory_ = nullptr;
  std::int64_t used_ = 0;
  std::vector<Piece> pieces_;
  std::int64_t first_ = 0;  // the number of pieces_[0]
};

}  // namespace tandem::cuda
