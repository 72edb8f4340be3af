#include "comm/nccl/nccl_reduce.h"

#include <dlfcn.h>
#include <nccl.h>
#include <spdlog/spdlog.h>

#include <mutex>

namespace tandem::cuda {
namespace {

// The library is opened when it is first needed, so that one program starts on machines with and
// without it; nccl.h gives the types alone.
struct Nccl {
  decltype(&ncclCommInitAll) init_all = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
  decltype(&ncclCommAbort) abort = nullptr;
  decltype(&ncclGetErrorString) error_string = nullptr;

  bool is_complete() const { return init_all && all_reduce && abort && error_string; }
};

Nccl open_library() {
  Nccl nccl;
  void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nccl;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
  };
  find(nccl.init_all, "ncclCommInitAll");
  find(nccl.all_reduce, "ncclAllReduce");
  find(nccl.abort, "ncclCommAbort");
  find(nccl.error_string, "ncclGetErrorString");
  return nccl;
}

const Nccl& library() {
  static const Nccl nccl = open_library();
  return nccl;
}

class NcclReduce : public LargeReduce {
 public:
  explicit NcclReduce(std::vector<ncclComm_t> ranks) : ranks_(std::move(ranks)) {}
  ~NcclReduce() override { abort(); }

  Status all_reduce_sum(int rank, cudaStream_t stream, const MatrixView& x) override {
    ncclComm_t comm = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (is_aborted_) return Error{ErrorCode::kPeerLost, "NCCL was aborted", {}, {}, {}};
      comm = ranks_[static_cast<std::size_t>(rank)];
    }
    const ncclResult_t result =
        library().all_reduce(x.data, x.data, static_cast<std::size_t>(x.rows * x.columns),
                             ncclFloat32, ncclSum, comm, stream);
    if (result == ncclSuccess || result == ncclInProgress) return {};
    return Error{ErrorCode::kDeviceFailed,
                 std::string("NCCL cannot reduce: ") + library().error_string(result),
                 {},
                 {},
                 {}};
  }

  void abort() override {
    const std::lock_guard lock(mutex_);
    if (is_aborted_) return;
    is_aborted_ = true;
    for (ncclComm_t comm : ranks_) (void)library().abort(comm);
  }

 private:
  std::mutex mutex_;
  bool is_aborted_ = false;
  std::vector<ncclComm_t> ranks_;
};

}  // namespace

std::shared_ptr<LargeReduce> create_nccl_reduce(const std::vector<int>& gpus) {
  if (!library().is_complete()) return nullptr;
  std::vector<ncclComm_t> ranks(gpus.size());
  const ncclResult_t result =
      library().init_all(ranks.data(), static_cast<int>(gpus.size()), gpus.data());
  if (result == ncclSuccess) return std::make_shared<NcclReduce>(std::move(ranks));
  spdlog::warn("NCCL cannot be used ({}); large messages go by copy engines",
               library().error_string(result));
  return nullptr;
}

}  // namespace tandem::cuda
