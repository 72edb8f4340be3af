#include <cstdlib>
#include <map>
#include <set>
#include <string_view>

#include "support/cuda_gpus.h"
#include "support/reference_model.h"

namespace tandem::test {
namespace {

// TANDEM_EMULATED_CUDA=all: every model that is there with every split, as on real GPUs. That takes
// most of an hour.
bool wants_all() {
  static const bool wanted = [] {
    const char* text = std::getenv("TANDEM_EMULATED_CUDA");
    return text != nullptr && std::string_view(text) == "all";
  }();
  return wanted;
}

// In ./check: every model of the repository (all kinds of blocks, attention and RoPE), and every
// split with one of them or several.
const std::map<std::string, std::set<std::string>> kSplitsOfModel = {
    {"gemma3-f16", {"one", "uneven3"}},
    {"llama-mqa-q8_0", {"one", "tensor2"}},
    {"llama-odd-q4_0", {"one", "uneven3"}},
    {"llama-yarn-f16", {"tensor2"}},
    {"mistral-q4_k_m", {"one", "pipeline2", "hybrid3and1"}},
    {"phi3-q5_0", {"one", "tensor2"}},
    {"qwen2-f16", {"pipeline2", "hybrid2x2", "tensor5", "tensor8"}},
    {"qwen3moe-q4_0", {"one", "experts2", "experts3"}},
};

}  // namespace

bool can_run_cuda(bool) {
  return true;
}

bool cuda_is_emulated() {
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
  if (wants_all()) return reference_names();
  std::vector<std::string> names;
  for (const auto& [name, splits] : kSplitsOfModel) names.push_back(name);
  return names;
}

bool has_time_for(const std::string& model, const std::string& split) {
  return wants_all() || kSplitsOfModel.at(model).contains(split);
}

bool has_time_to_compare(const std::string& model, const std::string& split) {
  static const std::map<std::string, std::string> kSplits = {{"gemma3-f16", "uneven3"},
                                                             {"llama-mqa-q8_0", "tensor2"},
                                                             {"mistral-q4_k_m", "hybrid3and1"},
                                                             {"qwen3moe-q4_0", "experts2"}};
  const auto found = kSplits.find(model);
  return wants_all() || (found != kSplits.end() && found->second == split);
}

// cuda_split_test.cpp has float arithmetic for all others.
bool has_time_for_float(const std::string& split) {
  return split == "one";
}

std::size_t cuda_num_prompts(Arithmetic arithmetic, const std::string& split) {
  // The longest prompt, of 130 tokens, takes most of the time.
  if (wants_all()) return arithmetic == Arithmetic::kFloat ? 2 : split == "one" ? 4 : 3;
  return arithmetic == Arithmetic::kFloat ? 1 : 2;
}

}  // namespace tandem::test
