#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "plan/machine_text.h"
#include "plan/planned_models.h"
#include "plan/search.h"

namespace tandem {
namespace {

struct WrittenCase {
  const char* gpus;
  const char* link;
};

constexpr WrittenCase kMachines[] = {
    {"RTX 3060", ""},
    {"RTX 3090", ""},
    {"RTX 4090", ""},
    {"2x RTX 3090", ""},
    {"2x RTX 3090", "nvlink3"},
    {"2x RTX 5060 Ti 16GB", "pcie3x8"},
    {"RTX 4090 + RTX 3090", ""},
    {"RTX 4090 + 2x Tesla P40", "pcie3x16"},
    {"4x RTX 4090", "pcie4x8"},
    {"2x RX 7900 XTX", ""},
    {"8x H100 SXM", ""},
    {"4x A100 PCIe 80GB", "nvlink3sxm"},
};

constexpr std::pair<const char*, const char*> kModels[] = {
    {"llama-3.2-1b", "f16"},   {"llama-3-8b", "q4_k_m"},    {"gemma-3-27b", "q4_k_m"},
    {"llama-3-70b", "q4_k_m"}, {"qwen3-30b-a3b", "q4_k_m"}, {"gpt-oss-120b", "mxfp4_moe"},
};

// One line a case: what is recommended and what it would do, rounded to what people read.
std::string line_of(const WrittenCase& written, const char* name, const char* quant) {
  const auto model = plannable_model(name, quant);
  const auto machine = machine_from_text({{written.gpus}, written.link, false});
  EXPECT_TRUE(model.ok() && machine.ok());
  const auto result = search_plans(model->spec, *machine, **find_engine("llama.cpp"), {});
  EXPECT_TRUE(result.ok());
  const Plan& plan = result->plans.front();
  std::string layers;
  for (const StagePlan& stage : plan.stages) {
    layers += (layers.empty() ? "" : "+") + std::to_string(stage.num_layers);
  }
  return fmt::format(
      "{:<24} {:<11} {:<14} {:<10} {:<4} {:<36} layers {:<24} decode {:>7.1f} prefill "
      "{:>7.0f} speed-up {:.2f}\n",
      written.gpus, written.link, name, quant, plan.fits ? "fits" : "no", plan.name, layers,
      plan.predicted->decode_tokens_per_s, plan.predicted->prefill_tokens_per_s,
      plan.scaling->predicted_speedup);
}

// A change of the planner shows here as a difference that a person can review: run with
// TANDEM_UPDATE_GOLDEN=1 to write it, then read `git diff`.
TEST(Golden, TwelveMachinesSixModels) {
  const std::string path = std::string(TANDEM_SOURCE_DIR) + "/src/plan/golden_plans.txt";
  std::string now;
  for (const WrittenCase& machine : kMachines) {
    for (const auto& [name, quant] : kModels) now += line_of(machine, name, quant);
  }
  if (std::getenv("TANDEM_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << now;
  std::ifstream file(path);
  const std::string before{std::istreambuf_iterator<char>(file), {}};
  std::istringstream was(before);
  std::istringstream is(now);
  std::string left;
  std::string right;
  while (std::getline(is, right)) {
    std::getline(was, left);
    EXPECT_EQ(right, left);
  }
  EXPECT_EQ(now.size(), before.size());
}

}  // namespace
}  // namespace tandem
