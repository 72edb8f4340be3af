#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "comm/cuda/exchange.h"
#include "comm/local/local_group.h"

namespace tandem::cuda {

// How the ranks' inboxes are used. An inbox holds two halves, which reductions in one or two shots
// use in turn, and behind them the slots of the ring.
//
// A half is written again only in the next but one collective that uses halves. A rank gets there
// only after all ranks have begun the one in between, that is have ended this one: every such
// collective makes each rank wait for all others.
struct InboxLayout {
  explicit InboxLayout(int size);

  static constexpr std::int64_t kOneShotTotalBytes = std::int64_t{1} << 20;  // of all ranks' slots
  static constexpr std::int64_t kTwoShotBytes = std::int64_t{1} << 20;  // of the largest message
  static constexpr std::int64_t kRingPieceBytes = std::int64_t{1} << 19;
  static constexpr int kRingSlots = 4;

  std::int64_t one_shot_bytes = 0;       // of the largest message, float32
  std::int64_t one_shot_slot_bytes = 0;  // between slots
  std::int64_t two_shot_slot_bytes = 0;
  std::int64_t half_bytes = 0;
  std::int64_t total_bytes = 0;

  std::int64_t ring_slot(int ring, std::int64_t piece) const {
    return 2 * half_bytes + (ring * kRingSlots + piece % kRingSlots) * kRingPieceBytes;
  }
};

// What the seats of a group share: inboxes and flags in the GPUs' memory or in page-locked memory
// of the host, reports, and the error that ended the group. Lives as long as a seat or a stream
// that was given work does, because kernels of other ranks may still write into a rank's inbox.
class GroupMemory {
 public:
  // devices: one a rank, made by create_cuda_device(); a rank's inbox is cut from its memory.
  // gpus: the CUDA number of each one's GPU. transport: kPeer or kHost.
  static Result<std::shared_ptr<GroupMemory>> create(std::span<Device* const> devices,
                                                     std::vector<int> gpus, GpuTransport transport);
  ~GroupMemory();
  GroupMemory(const GroupMemory&) = delete;
  GroupMemory& operator=(const GroupMemory&) = delete;

  int size() const { return static_cast<int>(gpus_.size()); }
  int gpu_of(int rank) const { return gpus_[static_cast<std::size_t>(rank)]; }
  const InboxLayout& layout() const { return layout_; }
  Seats seats_of(int rank) const;
  // is_beside: of kernels that run beside the rank's arithmetic, with times of their own.
  WaitTerms terms_of(int rank, const CudaGroupOptions& options, bool is_beside = false) const;
  const volatile RankReport& report_of(int rank) const { return reports_[rank]; }

  // Ends every wait of every rank's kernels. Any thread.
  void fail(const Error& error);
  std::optional<Error> failure() const { return failure_.get(); }
  // What the kernels of `rank` reported, as the group's error; ok while nothing went wrong.
  Status check(int rank);

 private:
  GroupMemory(std::vector<int> gpus, GpuTransport transport);
  Status allocate(std::span<Device* const> devices);
  Result<std::byte*> allocate_on(Device& device, int gpu, std::int64_t bytes);
  Result<std::byte*> allocate_on_host(std::int64_t bytes);

  std::vector<int> gpus_;
  InboxLayout layout_;
  Seats seats_;  // with nobody's rank
  std::vector<std::unique_ptr<Buffer>> on_gpus_;
  std::vector<void*> on_host_;
  RankReport* reports_ = nullptr;
  std::uint32_t* abort_ = nullptr;
  std::array<std::uint64_t*, kMaxRanks> times_ns_{};
  SharedFailure failure_;
};

}  // namespace tandem::cuda
