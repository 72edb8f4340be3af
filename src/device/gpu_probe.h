#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tandem {

enum class ProductKind { kInt8, kBf16, kFloat };

// The loops that find out what one GPU can do at most. Used by one thread at a time; probes of
// several GPUs, or several of one, may be at work at the same time on threads of their own.
class GpuProbe {
 public:
  virtual ~GpuProbe() = default;

  virtual int num_read_patterns() const = 0;
  virtual std::string_view read_pattern(int index) const = 0;
  // 1e9 bytes a second of the GPU's memory by one of the patterns; a copy counts what it reads and
  // what it writes. Blocks for about `seconds`. Errors: those of a GPU that fails.
  virtual Result<double> read_gbps(int pattern, double seconds) = 0;
  // 1e9 operations a second in registers: of tensor cores, and (kFloat) of the others.
  virtual Result<double> product_gops(ProductKind kind, double seconds) = 0;
};

// A probe of the GPU as CUDA counts them, with memory of four times its cache. `id`: for errors,
// which are those of create_cuda_device().
Result<std::unique_ptr<GpuProbe>> create_gpu_probe(const std::string& id, int gpu_index);

}  // namespace tandem
