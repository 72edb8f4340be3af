#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/ops.h"
#include "tensor/element_type.h"

namespace tandem {

enum class DeviceKind : std::uint8_t { kCpu, kCuda, kNull };

// How matrix products treat activations: rounded once per layer input to int8 blocks (fast), or
// kept in float32 (exact but for rounding; the reference that the fast paths are held to).
enum class Arithmetic : std::uint8_t { kInt8, kFloat };

struct DeviceInfo {
  std::string id;  // as the command line names it: "cpu:0-3", "cuda:0"
  DeviceKind kind = DeviceKind::kCpu;
  std::string name;  // the processor's or the card's
  std::int64_t memory_bytes = 0;
  // May the host read and write device memory directly? Then copies are plain memcpy.
  bool is_host_memory = true;
};

// A piece of device memory; freed by its destructor. Contents are undefined until written.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;  // a device address
  virtual std::int64_t size_bytes() const = 0;

  float* floats() { return static_cast<float*>(data()); }
};

// A matrix (or a stack of experts' matrices) as the device's kernels want it: in the blocks of
// the file, or repacked. Opaque: only ops of the device that made it can read it.
class Weight {
 public:
  virtual ~Weight() = default;
  virtual ElementType type() const = 0;
  virtual std::int64_t num_experts() const = 0;  // 1 for a plain matrix
  virtual std::int64_t rows() const = 0;         // output features of this shard
  virtual std::int64_t columns() const = 0;      // input features of this shard
  virtual std::int64_t size_bytes() const = 0;   // device memory held
};

// Where the bytes of a weight come from. Rows are delivered one after another, so that a shard can
// be cut from a mapped file without a second copy of it.
struct WeightSource {
  ElementType type = ElementType::kF32;
  std::int64_t num_experts = 1;
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // a whole number of blocks of `type`
  // The bytes of one row: bytes_of(type, columns). Valid until the next call. Thread-safe.
  std::function<std::span<const std::byte>(std::int64_t expert, std::int64_t row)> row_bytes;
  // Called when rows [begin, end) of `expert` have been taken and will not be asked for again.
  std::function<void(std::int64_t expert, std::int64_t begin, std::int64_t end)> rows_done;
};

// A point in a stream's order.
class Event {
 public:
  virtual ~Event() = default;
  // Blocks until every op before record() is done or `deadline_us` has passed (kDeadline).
  virtual Status wait(std::int64_t deadline_us) = 0;
  // Seconds between `start` and this event; both must be done.
  virtual double seconds_since(const Event& start) const = 0;
};

// An in-order queue of work on one device: ops return at once and run in the order of their calls.
// Used by one thread at a time (its rank's). An op that fails poisons the stream: later ops do
// nothing, and synchronize() and Event::wait() return the first error.
// The CPU device runs each op before it returns, on the cores of the device; callers may not rely
// on that.
class Stream : public Ops {
 public:
  // Stream-ordered copies. `host` must stay valid until the stream has passed them.
  virtual void copy_to_device(void* device, const void* host, std::int64_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* device, std::int64_t bytes) = 0;
  virtual void fill_zero(void* device, std::int64_t bytes) = 0;

  virtual std::unique_ptr<Event> record() = 0;
  // Blocks until everything enqueued is done, or returns kDeadline, or the error that poisoned it.
  virtual Status synchronize(std::int64_t deadline_us) = 0;
};

// One device of a plan, with memory and compute of its own. Made per rank; two ranks on one
// physical device have two Devices. Not thread-safe except for info().
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  // The rank's thread calls this once, before it works with the device: a CPU device pins it to its
  // first core (threads that it starts from then on would inherit that).
  virtual void bind_thread() = 0;
  // Blocks. kOutOfMemory says how much was asked for and how much there is. `alignment` 64 bytes.
  virtual Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes) = 0;
  // Blocks while it reads the source, on all cores of the device. May repack.
  // kUnsupported where the device has no kernel for the type, by name.
  virtual Result<std::unique_ptr<Weight>> load_weight(const WeightSource& source) = 0;
  virtual std::unique_ptr<Stream> create_stream() = 0;
};

struct CpuDeviceOptions {
  std::vector<int> cores;  // logical CPUs to run on, one thread each; empty: every allowed one
  bool pin_threads = true;
  Arithmetic arithmetic = Arithmetic::kInt8;
  // "auto", or the best instruction set to use: "portable", "avx2", "avx512". For tests.
  std::string instruction_set = "auto";
};

// A set of cores as a device: its memory is the host's, its threads are its own and pinned.
// The calling rank's thread works as the first of them, so cores.size() - 1 are started.
Result<std::unique_ptr<Device>> create_cpu_device(std::string id, const CpuDeviceOptions& options);

struct CudaDeviceOptions {
  int gpu_index = 0;
  // This device is part `part` of `num_parts` ranks that share the GPU ("cuda:0#1").
  int part = 0;
  int num_parts = 1;
  // One allocation that everything of the rank lies in, as the plan reckoned it; what does not fit
  // is allocated beside it. 0: every buffer is an allocation of its own.
  std::int64_t arena_bytes = 0;
  // Of these, what the ops of one stream work with while they run; more where an op needs more.
  std::int64_t scratch_bytes = 0;
  Arithmetic arithmetic = Arithmetic::kInt8;
};

// A GPU, or a part of one, as a device. kUnsupported where the build has no CUDA; kNotFound where
// there is no driver or no such GPU, saying which.
Result<std::unique_ptr<Device>> create_cuda_device(std::string id,
                                                   const CudaDeviceOptions& options);

// A device that accepts everything and computes nothing (all results are zero): for the logic of
// many ranks without the arithmetic.
std::unique_ptr<Device> create_null_device(std::string id, std::int64_t memory_bytes);

}  // namespace tandem
