#include "nccl_double.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "simt/stream.h"

// A reduction is a piece of work of each rank's emulated stream, as NCCL's is a kernel: it waits
// there for the other ranks, for ever if they do not come, unless its communicator is aborted.
// Whoever uses a communicator after that is ended by force.

namespace {

struct Reduction {
  std::vector<float*> buffers;  // of the ranks that have come
  std::size_t count = 0;
  bool is_done = false;
};

struct Clique {
  std::mutex mutex;
  std::condition_variable changed;
  int size = 0;
  std::map<long, Reduction> reductions;
};

}  // namespace

struct ncclComm {
  std::shared_ptr<Clique> clique;
  int rank = 0;
  int device = 0;
  long num_called = 0;  // by the one thread of its rank
  // Guarded by the clique's mutex; shared with what is on streams.
  std::shared_ptr<bool> is_aborted = std::make_shared<bool>(false);
};

namespace {

NcclDouble& settings() {
  static NcclDouble instance;
  return instance;
}

struct Alive {
  std::mutex mutex;
  std::set<ncclComm_t> comms;
};
Alive& alive() {
  static Alive instance;
  return instance;
}

void expect_alive(ncclComm_t comm, const char* call) {
  const std::lock_guard lock(alive().mutex);
  if (alive().comms.contains(comm)) return;
  std::fprintf(stderr, "%s: this communicator is gone\n", call);
  std::abort();
}

// As a ring adds: each quarter of the numbers from another rank on, so that the bits are neither
// those of adding in the order of ranks nor the same wherever a number stands.
void add_up(const Reduction& reduction) {
  const std::size_t size = reduction.buffers.size();
  for (std::size_t i = 0; i < reduction.count; ++i) {
    const std::size_t first = i * 4 / reduction.count + 1;
    float sum = settings().gives_wrong_sums ? 1.0f : 0.0f;
    for (std::size_t step = 0; step < size; ++step) {
      sum += reduction.buffers[(first + step) % size][i];
    }
    for (float* buffer : reduction.buffers) buffer[i] = sum;
  }
}

struct Call {
  std::shared_ptr<Clique> clique;
  std::shared_ptr<bool> is_aborted;
  int rank = 0;
  long number = 0;
  float* buffer = nullptr;
  std::size_t count = 0;
};

// What the rank's stream runs.
std::string reduce(const Call& call) {
  Clique& clique = *call.clique;
  std::unique_lock lock(clique.mutex);
  Reduction& reduction = clique.reductions[call.number];
  reduction.buffers.resize(static_cast<std::size_t>(clique.size));
  reduction.buffers[static_cast<std::size_t>(call.rank)] = call.buffer;
  reduction.count = call.count;
  const auto is_there = [](const float* buffer) { return buffer != nullptr; };
  const bool is_complete = std::ranges::all_of(reduction.buffers, is_there);
  if (is_complete && !*call.is_aborted && !settings().hangs) {
    add_up(reduction);
    reduction.is_done = true;
    clique.changed.notify_all();
  }
  clique.changed.wait(lock, [&] { return reduction.is_done || *call.is_aborted; });
  // Whoever leaves without a sum may free its buffer.
  if (!reduction.is_done) reduction.buffers[static_cast<std::size_t>(call.rank)] = nullptr;
  return {};
}

}  // namespace

extern "C" {

NcclDouble* nccl_double() {
  return &settings();
}

ncclResult_t ncclCommInitAll(ncclComm_t* comms, int num_devices, const int* devices) {
  ++settings().num_inits;
  if (const ncclResult_t result = settings().init_result; result != ncclSuccess) return result;
  if (std::set<int>(devices, devices + num_devices).size() !=
      static_cast<std::size_t>(num_devices)) {
    return ncclInvalidUsage;
  }
  auto clique = std::make_shared<Clique>();
  clique->size = num_devices;
  for (int rank = 0; rank < num_devices; ++rank) {
    comms[rank] = new ncclComm;
    comms[rank]->clique = clique;
    comms[rank]->rank = rank;
    comms[rank]->device = devices[rank];
    const std::lock_guard lock(alive().mutex);
    alive().comms.insert(comms[rank]);
    ++settings().num_alive;
  }
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  expect_alive(comm, "ncclAllReduce");
  ++settings().num_reductions;
  if (const ncclResult_t result = settings().reduce_result; result != ncclSuccess) return result;
  if (type != ncclFloat32 || op != ncclSum || send != receive || stream->device != comm->device) {
    return ncclInvalidArgument;
  }
  static const char kind = 0;
  const Call call{
      comm->clique, comm->is_aborted, comm->rank, comm->num_called++, static_cast<float*>(receive),
      count};
  const cudaError_t error = simt::enqueue(stream, &kind, [call] { return reduce(call); });
  expect_alive(comm, "ncclAllReduce, under way");
  return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  expect_alive(comm, "ncclCommAbort");
  {
    const std::lock_guard lock(comm->clique->mutex);
    *comm->is_aborted = true;
    comm->clique->changed.notify_all();
  }
  {
    const std::lock_guard lock(alive().mutex);
    alive().comms.erase(comm);
  }
  --settings().num_alive;
  delete comm;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclUnhandledCudaError ? "unhandled cuda error"
         : result == ncclSystemError      ? "unhandled system error"
                                          : "another error";
}
}
