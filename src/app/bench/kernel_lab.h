#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "comm/communicator.h"
#include "device/device.h"
#include "machine/machine.h"

namespace tandem {

// CPU devices, each with memory for the arguments of ops, which do the same work at the same time:
// how long an op takes on one device, and on each while all are at work.
class KernelLab {
 public:
  static constexpr std::int64_t kMostRows = 512;  // of activations
  static constexpr std::int64_t kColumns = 2048;  // of a weight, and of x
  static constexpr std::int64_t kWidth = 4096;    // rows of a weight, and columns of y

  // One device with its arguments.
  struct Bench {
    std::unique_ptr<Device> device;
    std::unique_ptr<Stream> stream;
    std::unique_ptr<Communicator> seat;  // in a group of all devices; null where there is one
    std::unique_ptr<Buffer> x;           // [kMostRows, kColumns], the same numbers everywhere
    std::unique_ptr<Buffer> y;           // [kMostRows, kWidth]: results
    std::unique_ptr<Buffer> zeros;       // [kMostRows, 2 * kWidth], of which ops make zeros again
    std::unique_ptr<Buffer> cache;       // keys and values, where allocate_cache() made them
    std::vector<std::unique_ptr<Weight>> weights;  // of one type, together larger than caches
    std::unique_ptr<Weight> cached;                // of the same type, smaller than a core's cache
    std::size_t next_weight = 0;
    std::size_t next_layer = 0;  // of the cache
    SequenceSlice sequence;      // that attention looks at
  };
  using Work = std::function<Status(Bench&)>;

  // Errors: of devices, and of memory.
  static Result<KernelLab> open(const std::vector<MachineDevice>& devices,
                                const std::string& instruction_set);

  std::size_t num_devices() const { return benches_.size(); }

  // Gives every device matrices [kWidth, kColumns] of `type` with at least `bytes` together, and
  // one of fewer rows that a cache holds. kUnsupported where there is no kernel for the type.
  Status load_weights(ElementType type, std::int64_t bytes);
  void drop_weights();
  // Gives every device zeroed memory for keys and values.
  Status allocate_cache(std::int64_t bytes);

  // Does `work` again and again on the first `count` devices at once, for about `seconds`. Seconds
  // of one time: the devices' mean. The same number of times on each, so that work may wait for the
  // other devices' (collectives).
  Result<double> seconds_of(std::size_t count, double seconds, const Work& work);

 private:
  // Seconds of `times` times on each of the first `count` devices.
  Result<std::vector<double>> run(std::size_t count, std::int64_t times, const Work& work);

  std::vector<Bench> benches_;
  std::size_t num_cores_ = 1;  // of the largest device
};

// One product of `rows` rows with the next weight of the bench, which comes from memory.
Status multiply(KernelLab::Bench& bench, std::int64_t rows);
// As many operations with the weight that lies in a cache.
Status multiply_cached(KernelLab::Bench& bench, std::int64_t rows);

}  // namespace tandem
