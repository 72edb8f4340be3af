#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/auto_plan.h"

namespace CLI {
class App;
}

namespace tandem {

// The flags that say which model runs where, the same for every command that runs one.
struct ModelOptions {
  std::string model_path;  // empty: the embedded default model
  std::string devices = "auto";
  std::string split = "auto";
  std::optional<std::int32_t> group_size;  // --tp
  std::optional<std::int32_t> num_stages;  // --pp
  std::vector<double> tensor_split;        // -ts
  std::int32_t main_device = 0;
  std::optional<std::int64_t> context_tokens;
  std::int32_t parallel = 1;
  std::int32_t batch_tokens = 2048;       // -b: llama.cpp's logical batch
  std::int32_t micro_batch_tokens = 512;  // -ub: the most in one step
  std::optional<std::int32_t> threads;
  std::string kv_type_k = "f16";
  std::string kv_type_v = "f16";
  bool split_by_expert = false;
  std::string gpu_layers = "auto";       // -ngl: a number; "all" and less than 0 are all
  std::string arithmetic = "int8";       // or "float"
  std::string reduce_wire = "f32";       // or "f16", "bf16": between GPUs
  std::string instruction_set = "auto";  // or "portable", "avx2", "avx512"
  std::string plan_path;                 // --plan: execute this plan as it is
};

void add_model_options(CLI::App& command, ModelOptions& options);

// -ngl. nullopt: as many layers as fit. Errors: what is no number.
Result<std::optional<std::int32_t>> gpu_layers_of(const ModelOptions& options);

// The flags as the planner wants them. Errors: values that mean nothing.
Result<PlanRequest> plan_request_of(const ModelOptions& options);

}  // namespace tandem
