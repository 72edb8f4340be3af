#include "plan/emit.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "machine/device_list.h"

namespace tandem {
namespace {

bool on_host(const RankPlan& rank) {
  return rank.device.starts_with("cpu");
}

// In single quotes where the shell would read more than a word.
std::string quoted(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '.' || c == '_' || c == '-' || c == ':' ||
           c == ',' || c == '+' || c == '=';
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, ","));
}

std::string visible_devices(const Plan& plan) {
  std::vector<std::string> indices;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      if (on_host(rank)) continue;
      const std::string name = whole_device_id(rank.device);
      indices.push_back(name.substr(name.find(':') + 1));
    }
  }
  return joined(indices);
}

std::string kv_name(ElementType type) {
  return type == ElementType::kQ8_0 ? "q8_0" : type == ElementType::kF32 ? "f32" : "f16";
}

Result<std::string> llama_server(const Plan& plan, const std::string& model) {
  if (plan.split == SplitMode::kHybrid) {
    return unsupported("--emit llama-server", "llama.cpp cannot express stages of tensor groups");
  }
  std::int32_t on_gpu = 0;
  std::vector<std::string> shares;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      if (on_host(rank)) continue;
      if (stage.ranks.size() == 1) {
        on_gpu += stage.num_layers;
        shares.push_back(std::to_string(stage.num_layers));
      } else {
        on_gpu = stage.num_layers;
        shares.push_back(fmt::format("{:.3g}", rank.share));
      }
    }
  }
  std::string out = fmt::format("CUDA_VISIBLE_DEVICES={} llama-server -m {}", visible_devices(plan),
                                quoted(model));
  out += fmt::format(" -ngl {}", on_gpu + 1);  // one more than the layers: the output matrix
  const char* mode = shares.size() < 2                  ? "none"
                     : plan.split == SplitMode::kTensor ? "tensor"
                                                        : "layer";
  out += fmt::format(" -sm {}", mode);
  if (shares.size() > 1) out += " -ts " + joined(shares);
  // llama-server's -c is shared by all slots.
  out += fmt::format(" -c {} -np {} -ub {} -fa on", plan.context_tokens * plan.max_sequences,
                     plan.max_sequences, plan.max_batch_tokens);
  if (plan.kv.type != ElementType::kF16) {
    out += fmt::format(" -ctk {0} -ctv {0}", kv_name(plan.kv.type));
  }
  return out;
}

Result<std::string> vllm(const Plan& plan, const std::string& model) {
  const std::size_t group = plan.stages.front().ranks.size();
  for (const StagePlan& stage : plan.stages) {
    if (on_host(stage.ranks.front())) {
      return unsupported("--emit vllm", "vLLM does not offload layers to the processor this way");
    }
    if (stage.ranks.size() != group) {
      return unsupported("--emit vllm", "vLLM's stages have groups of one size");
    }
    for (const RankPlan& rank : stage.ranks) {
      if (std::abs(rank.share * static_cast<double>(group) - 1) > 0.05) {
        return unsupported("--emit vllm", "vLLM's ranks have equal shares");
      }
    }
  }
  const char* experts = plan.split_by_expert && group > 1 ? " --enable-expert-parallel" : "";
  return fmt::format(
      "CUDA_VISIBLE_DEVICES={} vllm serve {} --tensor-parallel-size {} --pipeline-parallel-size {} "
      "--max-model-len {} --max-num-seqs {}{}",
      visible_devices(plan), quoted(model), group, plan.stages.size(), plan.context_tokens,
      plan.max_sequences, experts);
}

// A processor's stage before those of the GPUs: what -ngl leaves to it.
std::int32_t offloaded_layers(const Plan& plan) {
  const bool offload =
      on_host(plan.stages.front().ranks.front()) && !on_host(plan.stages.back().ranks.front());
  return offload ? plan.stages.front().num_layers : 0;
}

SplitMode mode_of(std::size_t num_stages, std::size_t largest_group) {
  if (num_stages == 1) return largest_group == 1 ? SplitMode::kNone : SplitMode::kTensor;
  return largest_group == 1 ? SplitMode::kLayer : SplitMode::kHybrid;
}

std::string tandem_command(const Plan& plan, const std::string& model) {
  std::vector<std::string> devices;
  std::vector<std::string> shares;
  std::size_t largest = 0;
  const std::int32_t host_layers = offloaded_layers(plan);
  const std::size_t first = host_layers > 0 ? 1 : 0;
  for (std::size_t i = first; i < plan.stages.size(); ++i) {
    const StagePlan& stage = plan.stages[i];
    largest = std::max(largest, stage.ranks.size());
    for (const RankPlan& rank : stage.ranks) {
      devices.push_back(rank.device);
      shares.push_back(fmt::format("{:.4g}", rank.share * stage.num_layers));
    }
  }
  const std::size_t num_stages = plan.stages.size() - first;
  const SplitMode mode = mode_of(num_stages, largest);
  std::string out = fmt::format("tandem serve -m {} --devices {} --split {}", quoted(model),
                                joined(devices), name_of(mode));
  if (mode == SplitMode::kHybrid) out += fmt::format(" --tp {} --pp {}", largest, num_stages);
  if (devices.size() > 1) out += " -ts " + joined(shares);
  if (host_layers > 0) {
    const StagePlan& last = plan.stages.back();
    out += fmt::format(" -ngl {}", last.first_layer + last.num_layers - host_layers);
  }
  if (plan.split_by_expert) out += " --split-experts";
  out += fmt::format(" -c {} -np {} -ub {}", plan.context_tokens, plan.max_sequences,
                     plan.max_batch_tokens);
  if (plan.kv.type != ElementType::kF16) {
    out += fmt::format(" -ctk {0} -ctv {0}", kv_name(plan.kv.type));
  }
  return out;
}

}  // namespace

Status check_program(std::string_view program) {
  for (const char* known : {"llama-server", "llama.cpp", "vllm", "tandem"}) {
    if (program == known) return {};
  }
  return invalid_argument("unknown program for --emit", "llama-server, vllm or tandem",
                          std::string(program));
}

Result<std::string> emit_command(const Plan& plan, std::string_view program,
                                 const std::string& model) {
  TANDEM_TRY_STATUS(check_program(program));
  if (plan.stages.empty()) return invalid_argument("a plan without stages");
  if (program == "llama-server" || program == "llama.cpp") return llama_server(plan, model);
  if (program == "vllm") return vllm(plan, model);
  return tandem_command(plan, model);
}

}  // namespace tandem
