#include "support/cuda_gpus.h"

namespace tandem::test {

bool can_run_cuda(bool) {
  return true;
}

// Two emulated GPUs; further ranks share them.
std::function<Result<std::unique_ptr<Device>>(int)> cuda_device_maker(Arithmetic arithmetic) {
  return [arithmetic](int index) {
    CudaDeviceOptions options;
    options.gpu_index = index % 2;
    options.arithmetic = arithmetic;
    return create_cuda_device("cuda:" + std::to_string(options.gpu_index), options);
  };
}

// One of every kind of block and of attention; the whole list is for real GPUs.
std::vector<std::string> cuda_reference_names() {
  return {"gemma3-f16", "llama-mqa-q8_0", "llama-odd-q4_0", "mistral-q4_k_m", "qwen3moe-q4_0"};
}

std::size_t cuda_num_prompts() {
  return 2;
}

}  // namespace tandem::test
