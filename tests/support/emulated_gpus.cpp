#include <map>
#include <set>

#include "support/cuda_gpus.h"

namespace tandem::test {
namespace {

// One of every kind of block and of attention, and every split once; the whole matrix is for real
// GPUs. A case takes about three seconds here.
const std::map<std::string, std::set<std::string>> kSplitsOfModel = {
    {"gemma3-f16", {"one", "uneven3"}},     {"llama-mqa-q8_0", {"tensor2"}},
    {"llama-odd-q4_0", {"uneven3"}},        {"mistral-q4_k_m", {"pipeline2"}},
    {"qwen3moe-q4_0", {"one", "experts2"}},
};

}  // namespace

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

std::vector<std::string> cuda_reference_names() {
  std::vector<std::string> names;
  for (const auto& [name, splits] : kSplitsOfModel) names.push_back(name);
  return names;
}

bool has_time_for(const std::string& model, const std::string& split) {
  return kSplitsOfModel.at(model).contains(split);
}

std::size_t cuda_num_prompts() {
  return 2;
}

}  // namespace tandem::test
