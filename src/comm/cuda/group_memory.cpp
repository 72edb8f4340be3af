#include "comm/cuda/group_memory.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/checked.h"
#include "base/units.h"
#include "device/cuda/cuda_error.h"
#include "tensor/gpu_memory.h"

namespace tandem::cuda {
namespace {

constexpr std::int64_t kAlignment = kBufferAlignment;
constexpr std::int64_t kFlagBytes = std::int64_t{kNumFlags} * 4;
constexpr std::int64_t kTimes =
    2;  // of WaitTerms, once for kernels beside arithmetic and once more

}  // namespace

InboxLayout::InboxLayout(int size) {
  one_shot_bytes = kOneShotTotalBytes / size / kAlignment * kAlignment;
  one_shot_slot_bytes = one_shot_bytes;
  const std::int64_t units = kTwoShotBytes / 16;
  two_shot_slot_bytes = align_up<std::int64_t>((units + size - 1) / size * 16, kAlignment);
  half_bytes = std::max(size * one_shot_slot_bytes, 2 * size * two_shot_slot_bytes);
  total_bytes = ring_slot(kNumRings, 0);
}

GroupMemory::GroupMemory(std::vector<int> gpus, GpuTransport transport)
    : gpus_(std::move(gpus)), layout_(static_cast<int>(gpus_.size())) {
  seats_.size = size();
  seats_.in_host_memory = transport == GpuTransport::kHost;
}

GroupMemory::~GroupMemory() {
  for (void* memory : on_host_) (void)cudaFreeHost(memory);
}

Result<std::byte*> GroupMemory::allocate_on(Device& device, int gpu, std::int64_t bytes) {
  TANDEM_TRY(auto buffer, device.allocate(bytes));
  void* memory = buffer->data();
  on_gpus_.push_back(std::move(buffer));
  TANDEM_CUDA_TRY(cudaSetDevice(gpu), "cannot use the GPU");
  TANDEM_CUDA_TRY(cudaMemset(memory, 0, static_cast<std::size_t>(bytes)),
                  "cannot clear memory of a GPU");
  TANDEM_CUDA_TRY(cudaDeviceSynchronize(), "cannot clear memory of a GPU");
  return static_cast<std::byte*>(memory);
}

Result<std::byte*> GroupMemory::allocate_on_host(std::int64_t bytes) {
  void* memory = nullptr;
  TANDEM_CUDA_TRY(cudaHostAlloc(&memory, static_cast<std::size_t>(bytes),
                                cudaHostAllocPortable | cudaHostAllocMapped),
                  "no page-locked memory for exchanges between GPUs");
  on_host_.push_back(memory);
  std::fill_n(static_cast<std::byte*>(memory), bytes, std::byte{0});
  return static_cast<std::byte*>(memory);
}

Status GroupMemory::allocate(std::span<Device* const> devices) {
  TANDEM_CUDA_TRY(cudaSetDevice(gpus_[0]), "cannot use the GPU");
  const auto report_bytes = static_cast<std::int64_t>(sizeof(RankReport)) * size();
  TANDEM_TRY(std::byte * reports,
             allocate_on_host(align_up(report_bytes, kAlignment) + kAlignment));
  reports_ = reinterpret_cast<RankReport*>(reports);
  abort_ = reinterpret_cast<std::uint32_t*>(reports + align_up(report_bytes, kAlignment));
  const std::int64_t bytes = layout_.total_bytes + align_up(kFlagBytes, kAlignment);
  TANDEM_CHECK(bytes + kAlignment <= kExchangeBytes, "what plans reckon with");
  for (int rank = 0; rank < size(); ++rank) {
    Device& device = *devices[static_cast<std::size_t>(rank)];
    std::byte* inbox = nullptr;
    if (seats_.in_host_memory) {
      TANDEM_TRY(inbox, allocate_on_host(bytes));
    } else {
      TANDEM_TRY(inbox, allocate_on(device, gpu_of(rank), bytes));
    }
    seats_.inboxes[rank] = inbox;
    seats_.flags[rank] = reinterpret_cast<std::uint32_t*>(inbox + layout_.total_bytes);
    TANDEM_TRY(std::byte * times,
               allocate_on(device, gpu_of(rank), 2 * kTimes * sizeof(std::uint64_t)));
    times_ns_[static_cast<std::size_t>(rank)] = reinterpret_cast<std::uint64_t*>(times);
  }
  return {};
}

Result<std::shared_ptr<GroupMemory>> GroupMemory::create(std::span<Device* const> devices,
                                                         std::vector<int> gpus,
                                                         GpuTransport transport) {
  std::shared_ptr<GroupMemory> memory(new GroupMemory(std::move(gpus), transport));
  TANDEM_TRY_STATUS(memory->allocate(devices));
  return memory;
}

Seats GroupMemory::seats_of(int rank) const {
  Seats seats = seats_;
  seats.rank = rank;
  return seats;
}

WaitTerms GroupMemory::terms_of(int rank, const CudaGroupOptions& options, bool is_beside) const {
  WaitTerms terms;
  terms.abort = abort_;
  terms.report = reports_ + rank;
  terms.times_ns = times_ns_[static_cast<std::size_t>(rank)] + (is_beside ? kTimes : 0);
  terms.is_beside = is_beside;
  terms.deadline_ns = static_cast<std::uint64_t>(options.deadline_us) * 1000;
  terms.delay_ns = static_cast<std::uint64_t>(options.injected_delay_us) * 1000;
  return terms;
}

void GroupMemory::fail(const Error& error) {
  failure_.set(error);
  std::atomic_ref<std::uint32_t>(*abort_).store(1);
}

Status GroupMemory::check(int rank) {
  if (report_of(rank).failed == 0) return {};
  // Whose wait ended by its deadline knows more than those that were told to stop.
  for (int i = 0; i < size(); ++i) {
    if (report_of(i).failed != kFailedByDeadline) continue;
    const std::uint32_t late = report_of(i).late_rank;
    fail(Error{ErrorCode::kDeadline,
               "rank " + std::to_string(late) + " did not arrive at a collective",
               {},
               {},
               {}});
    return *failure();
  }
  fail(Error{ErrorCode::kPeerLost, "a rank of the group has given up", {}, {}, {}});
  return *failure();
}

}  // namespace tandem::cuda
