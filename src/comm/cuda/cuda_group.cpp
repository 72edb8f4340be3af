#include "comm/cuda/cuda_group.h"

#include <algorithm>
#include <atomic>
#include <set>

#include "base/clock.h"
#include "comm/cuda/crossovers.h"
#include "comm/cuda/cuda_communicator.h"
#include "comm/cuda/gpu_of_device.h"
#include "comm/cuda/peer_check.h"
#include "comm/nccl/nccl_reduce.h"

namespace tandem {
namespace cuda {
namespace {

// Of the reductions at the start, which nobody computes beside.
constexpr std::int64_t kTrialDeadlineUs = 5'000'000;
// Of all that is enqueued for one of them.
constexpr std::int64_t kTrialSumsDeadlineUs = 10'000'000;

// The seats, and what trying them out needs.
struct Trial {
  std::vector<std::unique_ptr<Communicator>> seats;
  std::vector<CudaCommunicator*> communicators;  // the same
};

Result<Trial> seat_ranks(const std::vector<int>& gpus, std::span<Device* const> devices,
                         GpuTransport transport, const CudaGroupOptions& options,
                         std::shared_ptr<LargeReduce> large) {
  TANDEM_TRY(auto memory, GroupMemory::create(devices, gpus, transport));
  LocalGroupOptions host;
  host.size = static_cast<int>(gpus.size());
  host.deadline_us = options.deadline_us;
  auto host_seats = create_local_group(host);
  Trial trial;
  const Crossovers crossovers = usual_crossovers(memory->layout(), options.algorithm);
  for (auto& host_seat : host_seats) {
    auto seat = std::make_unique<CudaCommunicator>(memory, std::move(host_seat), large, options,
                                                   crossovers);
    trial.communicators.push_back(seat.get());
    trial.seats.push_back(std::move(seat));
  }
  return trial;
}

// Reduces known numbers by every algorithm. An error, or wrong sums, in words; empty: all is well.
Result<std::string> try_out(const std::vector<int>& gpus, std::span<Device* const> devices,
                            GpuTransport transport, CudaGroupOptions options) {
  options.deadline_us = kTrialDeadlineUs;
  options.injected_delay_us = 0;
  for (const ReduceAlgorithm algorithm :
       {ReduceAlgorithm::kOneShot, ReduceAlgorithm::kTwoShot, ReduceAlgorithm::kRing}) {
    options.algorithm = algorithm;
    TANDEM_TRY(const Trial trial, seat_ranks(gpus, devices, transport, options, nullptr));
    TANDEM_TRY(const bool right,
               sums_are_right(trial.communicators, devices, kTrialSumsDeadlineUs));
    if (!right) return std::string("a reduction of known numbers gave wrong sums");
  }
  return std::string();
}

// What a trial's seats are given of a library that outlives them if it stands the trial: seats that
// go take their library with them, and connecting NCCL anew takes seconds.
class Lent : public LargeReduce {
 public:
  explicit Lent(std::shared_ptr<LargeReduce> owner) : owner_(std::move(owner)) {}
  Status all_reduce_sum(int rank, cudaStream_t stream, const MatrixView& x) override {
    return owner_->all_reduce_sum(rank, stream, x);
  }
  void abort() override {
    if (!is_returned_) owner_->abort();
  }
  void return_it() { is_returned_ = true; }

 private:
  std::shared_ptr<LargeReduce> owner_;
  std::atomic<bool> is_returned_ = false;
};

// NCCL where it is there and proves itself; a note where it does not.
Result<std::shared_ptr<LargeReduce>> try_nccl(const std::vector<int>& gpus,
                                              std::span<Device* const> devices,
                                              CudaGroupOptions options,
                                              std::vector<std::string>& notes) {
  const bool one_rank_a_gpu = std::set<int>(gpus.begin(), gpus.end()).size() == gpus.size();
  const bool is_wanted = options.use_nccl && options.wire == WireType::kF32 && gpus.size() > 1 &&
                         options.algorithm == ReduceAlgorithm::kAuto;
  if (!is_wanted || !one_rank_a_gpu) return std::shared_ptr<LargeReduce>();
  const auto nccl = create_nccl_reduce(gpus);
  if (nccl == nullptr) return nccl;
  options.algorithm = ReduceAlgorithm::kRing;  // that is, everything by NCCL
  const auto lent = std::make_shared<Lent>(nccl);
  TANDEM_TRY(const Trial trial, seat_ranks(gpus, devices, GpuTransport::kHost, options, lent));
  const auto right = sums_are_right(trial.communicators, devices,
                                    std::min(options.deadline_us, kTrialSumsDeadlineUs));
  if (right.ok() && *right) {
    lent->return_it();
    return nccl;
  }
  notes.push_back("NCCL is not used: " +
                  (right.ok() ? std::string("it gave wrong sums") : right.error().to_string()));
  return std::shared_ptr<LargeReduce>();
}

std::string text_of(const Result<std::string>& outcome) {
  return outcome.ok() ? *outcome : outcome.error().to_string();
}

// The transport to use. Notes say why it is not peer access.
Result<GpuTransport> choose_transport(const std::vector<int>& gpus,
                                      std::span<Device* const> devices,
                                      const CudaGroupOptions& options,
                                      std::vector<std::string>& notes) {
  if (options.transport != GpuTransport::kHost) {
    TANDEM_TRY(notes, find_peer_faults(gpus));
    if (notes.empty()) {
      const auto outcome = try_out(gpus, devices, GpuTransport::kPeer, options);
      if (outcome.ok() && outcome->empty()) return GpuTransport::kPeer;
      notes.push_back("peer access between GPUs: " + text_of(outcome));
    }
    if (options.transport == GpuTransport::kPeer) {
      return Error{ErrorCode::kDeviceFailed, notes.front(), {}, "peer access", {}};
    }
  }
  const auto outcome = try_out(gpus, devices, GpuTransport::kHost, options);
  if (outcome.ok() && outcome->empty()) return GpuTransport::kHost;
  return Error{ErrorCode::kDeviceFailed,
               "GPUs cannot exchange through host memory: " + text_of(outcome),
               {},
               {},
               {}};
}

// The GPUs of a group's ranks.
struct GroupGpus {
  std::vector<int> indices;     // CUDA's numbers
  int num_multiprocessors = 1;  // of the largest
};

Result<GroupGpus> gpus_of(std::span<Device* const> devices) {
  if (devices.empty() || devices.size() > static_cast<std::size_t>(kMaxRanks)) {
    return unsupported({}, "a group of GPUs has another number of ranks",
                       "1 to " + std::to_string(kMaxRanks), std::to_string(devices.size()));
  }
  GroupGpus gpus;
  for (Device* device : devices) {
    TANDEM_CHECK(device->info().kind == DeviceKind::kCuda, "a group of GPUs");
    const GpuTraits traits = gpu_of_device(*device);
    gpus.indices.push_back(traits.index);
    gpus.num_multiprocessors = std::max(gpus.num_multiprocessors, traits.num_multiprocessors);
  }
  return gpus;
}

Status let_overlap(const Trial& trial, const GroupGpus& gpus, const CudaGroupOptions& options) {
  if (!options.overlap || gpus.indices.size() == 1) return {};
  for (std::size_t rank = 0; rank < gpus.indices.size(); ++rank) {
    TANDEM_TRY(auto side, SideStream::create(gpus.indices[rank]));
    trial.communicators[rank]->overlap_on(std::move(side),
                                          {gpus.num_multiprocessors, options.overlap_rows});
  }
  return {};
}

}  // namespace
}  // namespace cuda

Result<CudaGroup> create_cuda_group(std::span<Device* const> devices,
                                    const CudaGroupOptions& options) {
  TANDEM_TRY(const cuda::GroupGpus group_gpus, cuda::gpus_of(devices));
  const std::vector<int>& gpus = group_gpus.indices;
  CudaGroup group;
  TANDEM_TRY(group.transport, cuda::choose_transport(gpus, devices, options, group.notes));
  TANDEM_TRY(auto large, cuda::try_nccl(gpus, devices, options, group.notes));
  TANDEM_TRY(cuda::Trial trial, cuda::seat_ranks(gpus, devices, group.transport, options, large));
  if (options.measure_crossovers && options.algorithm == ReduceAlgorithm::kAuto &&
      gpus.size() > 1) {
    TANDEM_TRY(const cuda::Crossovers measured,
               cuda::measure_crossovers(trial.communicators, devices, options.max_bytes));
    for (cuda::CudaCommunicator* seat : trial.communicators) seat->set_crossovers(measured);
  }
  TANDEM_TRY_STATUS(cuda::let_overlap(trial, group_gpus, options));
  group.seats = std::move(trial.seats);
  return group;
}

}  // namespace tandem
