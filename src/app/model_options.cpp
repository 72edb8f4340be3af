#include "app/model_options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>

#include "tensor/element_type.h"

namespace tandem {
namespace {

Result<std::optional<SplitMode>> split_mode_of(const std::string& text) {
  if (text == "auto") return std::optional<SplitMode>{};
  if (text == "none") return std::optional{SplitMode::kNone};
  if (text == "layer") return std::optional{SplitMode::kLayer};
  if (text == "tensor" || text == "row") return std::optional{SplitMode::kTensor};
  if (text == "hybrid") return std::optional{SplitMode::kHybrid};
  return invalid_argument("unknown --split", "auto, none, layer, tensor (row) or hybrid", text);
}

Result<ElementType> kv_type_of(const ModelOptions& options) {
  if (options.kv_type_k != options.kv_type_v) {
    return unsupported("-ctk, -ctv", "keys and values of different types", options.kv_type_k,
                       options.kv_type_v);
  }
  const auto type = element_type_from_name(options.kv_type_k);
  const bool known =
      type == ElementType::kF16 || type == ElementType::kF32 || type == ElementType::kQ8_0;
  if (!known) {
    return invalid_argument("unknown KV cache type", "f16, f32 or q8_0", options.kv_type_k);
  }
  return *type;
}

// Accepted so that llama.cpp's command lines run; what they ask for is always so here.
void add_llama_flags_without_effect(CLI::App& command) {
  struct Ignored {
    const char* names;
    const char* why;
  };
  static constexpr Ignored kIgnored[] = {
      {"--threads-batch", "Prefill uses the same cores as decode"},
      {"--flash-attn", "Attention is always computed in tiles"},
  };
  for (const Ignored& flag : kIgnored) {
    command.add_option(flag.names, flag.why)->expected(0, 1)->group("llama.cpp");
  }
  command
      .add_flag_function(
          "--cont-batching,--no-mmap,--mlock", [](std::int64_t) {},
          "Accepted for llama.cpp's command lines")
      ->group("llama.cpp");
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("-m,--model", options.model_path, "GGUF file; default: the embedded model");
  command.add_option("--devices,--device", options.devices,
                     "auto, or a list: cpu, cpu:0-3, cuda:0, cuda:0#0,cuda:0#1");
  command.add_option("--split,--split-mode", options.split, "auto|none|layer|tensor|hybrid");
  command.add_option("--tp", options.group_size, "Devices that share a stage");
  command.add_option("--pp", options.num_stages, "Pipeline stages");
  command.add_option("--tensor-split", options.tensor_split, "Shares by hand: 3,1")->delimiter(',');
  command.add_option("--main-gpu", options.main_device, "The device that --split none uses");
  command.add_option("-c,--ctx-size", options.context_tokens,
                     "Context of one sequence; 0: the model's");
  command.add_option("--parallel", options.parallel, "Sequences at once")
      ->check(CLI::Range(1, 4096));
  command.add_option("-b,--batch-size", options.batch_tokens, "Tokens of a prompt at once")
      ->check(CLI::Range(1, 1 << 20));
  command.add_option("--ubatch-size", options.micro_batch_tokens, "Most tokens in one step")
      ->check(CLI::Range(1, 1 << 16));
  command.add_option("-t,--threads", options.threads, "Cores of the device 'cpu'")
      ->check(CLI::Range(1, 4096));
  command.add_option("--cache-type-k", options.kv_type_k, "f16, f32 or q8_0");
  command.add_option("--cache-type-v", options.kv_type_v, "f16, f32 or q8_0");
  command.add_flag("--split-experts", options.split_by_expert,
                   "Give each device whole experts, not a part of each");
  command.add_option("--n-gpu-layers,--gpu-layers", options.gpu_layers,
                     "Layers on GPUs, the last ones; the others run on the processor. auto: what "
                     "fits; a number; all");
  command
      .add_option("--arithmetic", options.arithmetic,
                  "int8: activations rounded for speed; float: exact")
      ->check(CLI::IsMember({"int8", "float"}));
  command
      .add_option("--reduce-wire", options.reduce_wire,
                  "What travels between GPUs that share a layer: f32 is exact")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  command.add_option("--instruction-set", options.instruction_set, "For tests")
      ->check(CLI::IsMember({"auto", "portable", "avx2", "avx512"}));
  command.add_option("--plan", options.plan_path, "Execute the plan in this file as it is");
  add_llama_flags_without_effect(command);
}

Result<std::optional<std::int32_t>> gpu_layers_of(const ModelOptions& options) {
  const std::string& text = options.gpu_layers;
  if (text.empty() || text == "auto") return std::optional<std::int32_t>{};
  constexpr std::int32_t kAll = std::numeric_limits<std::int32_t>::max();
  if (text == "all") return std::optional{kAll};
  std::int32_t layers = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layers);
  if (error != std::errc() || end != text.data() + text.size()) {
    return invalid_argument("unknown -ngl", "a number, auto or all", text);
  }
  return std::optional{layers < 0 ? kAll : layers};
}

Result<PlanRequest> plan_request_of(const ModelOptions& options) {
  PlanRequest request;
  TANDEM_TRY(request.split, split_mode_of(options.split));
  TANDEM_TRY(request.kv_type, kv_type_of(options));
  request.group_size = options.group_size;
  request.num_stages = options.num_stages;
  request.shares = options.tensor_split;
  request.main_device = options.main_device;
  request.context_tokens = options.context_tokens;
  request.max_sequences = options.parallel;
  request.max_batch_tokens = std::min(options.micro_batch_tokens, options.batch_tokens);
  request.split_by_expert = options.split_by_expert;
  return request;
}

}  // namespace tandem
