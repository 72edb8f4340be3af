#include "comm/nccl/nccl_reduce.h"

#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include "comm/nccl/nccl_library.h"

namespace tandem::cuda {
namespace {

constexpr std::chrono::seconds kConnectDeadline(60);

// NCCL tells CUDA's failures apart from wrong calls and from failures elsewhere.
ErrorCode code_of(ncclResult_t result) {
  switch (result) {
    case ncclUnhandledCudaError:
      return ErrorCode::kDeviceFailed;
    case ncclSystemError:
      return ErrorCode::kIo;
    case ncclRemoteError:
      return ErrorCode::kPeerLost;
    default:
      return ErrorCode::kInternal;
  }
}

class NcclReduce : public LargeReduce {
 public:
  explicit NcclReduce(const std::vector<ncclComm_t>& comms) {
    for (ncclComm_t comm : comms) ranks_.emplace_back().comm = comm;
  }
  ~NcclReduce() override {
    is_aborted_ = true;
    for (Rank& rank : ranks_) end(rank);
  }

  Status all_reduce_sum(int rank, cudaStream_t stream, const MatrixView& x) override {
    Rank& own = ranks_[static_cast<std::size_t>(rank)];
    Status status = call(own, stream, x);
    // abort() passed by while the call was under way.
    if (is_aborted_) end(own);
    return status;
  }

  // A communicator must not be freed under a call, and a call may wait for other ranks (the first
  // one connects them): whoever is in one frees its own when it comes back.
  void abort() override {
    is_aborted_ = true;
    for (Rank& rank : ranks_) {
      if (const std::unique_lock lock(rank.mutex, std::try_to_lock); lock) end_locked(rank);
    }
  }

 private:
  struct Rank {
    std::mutex mutex;  // of the calls that take comm
    ncclComm_t comm = nullptr;
  };

  Status call(Rank& rank, cudaStream_t stream, const MatrixView& x) {
    const std::lock_guard lock(rank.mutex);
    if (is_aborted_) return Error{ErrorCode::kPeerLost, "NCCL was aborted", {}, {}, {}};
    const auto count = static_cast<std::size_t>(x.rows * x.columns);
    const ncclResult_t result =
        nccl_library().all_reduce(x.data, x.data, count, ncclFloat32, ncclSum, rank.comm, stream);
    if (result == ncclSuccess) return {};
    return Error{code_of(result),
                 std::string("NCCL cannot reduce: ") + nccl_library().error_string(result),
                 {},
                 {},
                 {}};
  }
  static void end(Rank& rank) {
    const std::lock_guard lock(rank.mutex);
    end_locked(rank);
  }
  // Ends what of this rank is on the GPU, too.
  static void end_locked(Rank& rank) {
    if (rank.comm != nullptr) (void)nccl_library().abort(rank.comm);
    rank.comm = nullptr;
  }

  std::atomic<bool> is_aborted_ = false;
  std::deque<Rank> ranks_;  // they do not move
};

// What NCCL connects on a thread of its own: its calls have no deadline.
struct Connection {
  std::vector<ncclComm_t> comms;
  ncclResult_t result = ncclSuccess;
};

Connection connect(const std::vector<int>& gpus) {
  Connection made;
  made.comms.resize(gpus.size());
  made.result =
      nccl_library().init_all(made.comms.data(), static_cast<int>(gpus.size()), gpus.data());
  return made;
}

}  // namespace

std::shared_ptr<LargeReduce> create_nccl_reduce(const std::vector<int>& gpus) {
  if (!nccl_library().is_complete()) return nullptr;
  const auto made = std::make_shared<std::promise<Connection>>();
  auto coming = made->get_future();
  std::thread([made, gpus] { made->set_value(connect(gpus)); }).detach();
  if (coming.wait_for(kConnectDeadline) != std::future_status::ready) {
    spdlog::warn(
        "NCCL cannot be used (it did not connect the GPUs within {} s); large messages go "
        "by copy engines",
        kConnectDeadline.count());
    return nullptr;
  }
  const Connection connection = coming.get();
  if (connection.result == ncclSuccess) return std::make_shared<NcclReduce>(connection.comms);
  spdlog::warn("NCCL cannot be used ({}); large messages go by copy engines",
               nccl_library().error_string(connection.result));
  return nullptr;
}

}  // namespace tandem::cuda
