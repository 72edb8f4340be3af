#include <map>
#include <set>

#include "support/cuda_gpus.h"

namespace tandem::test {
namespace {

// Every model of the repository (all kinds of blocks, attention and RoPE), and every split with
// several of them; every model with every split is for real GPUs.
const std::map<std::string, std::set<std::string>> kSplitsOfModel = {
    {"gemma3-f16", {"one", "uneven3"}},
    {"llama-mqa-q8_0", {"one", "tensor2"}},
    {"llama-odd-q4_0", {"one", "uneven3"}},
    {"llama-yarn-f16", {"tensor2"}},
    {"mistral-q4_k_m", {"one", "pipeline2"}},
    {"phi3-q5_0", {"one", "tensor2"}},
    {"qwen2-f16", {"pipeline2"}},
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

// What splits do to sums does not hang on the arithmetic.
bool has_time_for_float(const std::string& split) {
  return split == "one";
}

std::size_t cuda_num_prompts(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kFloat ? 1 : 2;
}

}  // namespace tandem::test
