#include "device/cpu/cpu_stream.h"
#include "device/cpu/instruction_set.h"
#include "device/cpu/thread_pool.h"
#include "device/ops_backend.h"

namespace tandem {
namespace {

// A stream on threads that need no cores of their own.
struct PooledStream {
  PooledStream(InstructionSet set, bool serial)
      : pool(serial ? std::vector<int>{0} : std::vector<int>{0, 0, 0}, false),
        stream(pool, Arithmetic::kInt8, set) {}
  ThreadPool pool;
  CpuStream stream;
};

OpsBackend backend_of(InstructionSet set) {
  OpsBackend backend;
  backend.name = name_of(set);
  if (set > best_instruction_set()) backend.why_not = "this processor has no such kernels";
  backend.make_stream = [set](bool serial) {
    const auto pooled = std::make_shared<PooledStream>(set, serial);
    return std::shared_ptr<Stream>(pooled, &pooled->stream);
  };
  return backend;
}

}  // namespace

std::vector<OpsBackend> ops_backends() {
  return {backend_of(InstructionSet::kPortable), backend_of(InstructionSet::kAvx2),
          backend_of(InstructionSet::kAvx512)};
}

}  // namespace tandem
