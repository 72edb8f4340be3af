#include "plan/backtest_row.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <regex>

#include "base/lower_case.h"
#include "machine/gpu_catalogue.h"
#include "plan/layout.h"
#include "plan/machine_text.h"
#include "plan/planned_models.h"
#include "plan/time_model.h"

namespace tandem {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

const std::string& field(const CsvRow& row, const char* name) {
  static const std::string empty;
  const auto found = row.find(name);
  return found == row.end() ? empty : found->second;
}

std::optional<double> number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

bool is_llama_cpp(const std::string& engine) {
  return engine == "llama.cpp" || engine == "ik_llama.cpp" || engine == "ollama / llama.cpp";
}

// CUDA graphs and fused attention became llama.cpp's default in the second half of 2024.
std::string profile_of(const std::string& engine, const std::string& date) {
  if (engine == "llama.cpp") return date < "2024-09" ? "llama.cpp-2024" : "llama.cpp";
  if (is_llama_cpp(engine)) return "llama.cpp";
  if (engine.starts_with("vLLM") || engine == "vllm" || engine == "TensorRT-LLM") return "vllm";
  return "";
}

std::string model_name(std::string name) {
  name = lower_case(name);
  if (name == "llama 1b") return "llama-3.2-1b";
  if (name == "deepseek-r1-14b (qwen2.5 distill)") return "qwen2.5-14b";
  if (name == "27b (qwen3.5/3.6)") return "qwen3.5-27b";
  name = name.substr(0, name.find(" ("));
  for (const char* tail : {"-awq-int4", "-awq-4bit", "-awq", "-instruct", "-it"}) {
    replace_all(name, tail, "");
  }
  replace_all(name, "llama2-", "llama-2-");
  replace_all(name, "llama3-", "llama-3-");
  if (name.starts_with("meta-")) name.erase(0, 5);
  return name;
}

// What a row calls its quantisation, as the file type nearest in bytes.
std::string quant_name(std::string quant, const std::string& profile) {
  quant = lower_case(quant);
  for (const char* head : {"gguf-", "ud-"}) {
    if (quant.starts_with(head)) quant.erase(0, std::string_view(head).size());
  }
  replace_all(quant, " (ollama default)", "");
  replace_all(quant, "_k_xl", "_k_m");
  if (quant == "q6_k_m" || quant == "q6_k_l") return "q6_k";
  if (quant == "q8_k_m") return "q8_0";
  if (quant == "fp16") return "f16";
  if (quant == "q3") return "q3_k_m";
  if (quant == "mxfp4") return "mxfp4_moe";
  if (profile != "vllm") return quant == "4-bit" ? "q4_k_m" : quant;
  for (const char* four : {"awq", "gptq-4bit", "gptq-pro-4bit", "autoround", "int4", "w4a16",
                           "w4a8", "nvfp4", "gptq g128", "4-bit"}) {
    if (quant.find(four) != std::string::npos) return "q4_0";  // 4 bits and a scale per group
  }
  for (const char* eight : {"fp8", "int8", "w8a8", "gptq-8bit"}) {
    if (quant.find(eight) != std::string::npos) return "q8_0";
  }
  return quant;
}

std::string gpu_text(std::string text) {
  replace_all(text, "\xE2\x80\x91", "-");  // a hyphen that does not break
  for (const char* tail : {" (Vulkan)", "-class (ROCm)", " (of 8)", " (GPUs)"}) {
    replace_all(text, tail, "");
  }
  return text;
}

struct Prompt {
  std::int64_t tokens = 0;
  std::int64_t depth = 0;
};

// "512", "512 @ depth 65536", "near 0", "~7 (...)".
Prompt read_prompt(const std::string& text) {
  std::int64_t tokens = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), tokens);
  if (error != std::errc() || tokens < 0 || tokens > (1 << 24)) return {};
  Prompt prompt{tokens, 0};
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  constexpr std::string_view kDepth = " @ depth ";
  if (rest.starts_with(kDepth)) {
    std::from_chars(rest.data() + kDepth.size(), rest.data() + rest.size(), prompt.depth);
  }
  return prompt;
}

std::string link_name(const std::string& text) {
  static const std::regex pcie("PCIe([2-5]) ?x(4|8|16)");
  std::smatch match;
  if (std::regex_search(text, match, pcie)) return "pcie" + match[1].str() + "x" + match[2].str();
  return text.starts_with("NVLink") ? "nvlink3" : "";
}

// llama.cpp splits by layers since January 2024; before, several GPUs meant a split by rows (its
// own rows of then, of a model in half precision, are faster than layers one after another could
// be).
bool is_old_row_split(const CsvRow& row, const std::string& profile) {
  const std::string& date = field(row, "date");
  return profile.starts_with("llama.cpp") && field(row, "split_mode") == "layer" && !date.empty() &&
         date < "2024" && number(field(row, "n_gpus")).value_or(1) > 1;
}

// Reasons to leave a row out that stand in the row itself.
std::string reason_against(const CsvRow& row, const std::string& profile) {
  const std::string notes = field(row, "notes");
  const std::string split = field(row, "split_mode");
  if (profile.empty()) return "no profile of engine " + field(row, "engine");
  if (notes.starts_with("trust=C")) return "doubtful source (trust C)";
  if (notes.find("sm-row") != std::string::npos && split == "layer") {
    return "inconsistent: says layer, run with row split";
  }
  if (notes.find("not comparable") != std::string::npos) {
    return "not comparable, says the row's own note";
  }
  if (is_old_row_split(row, profile)) {
    return "row split of before 2024, when llama.cpp had no split by layers";
  }
  if (notes.find("prefix cache") != std::string::npos) {
    return "inconsistent: prefill grows with the prompt (prefix cache?)";
  }
  if (notes.find("MTP") != std::string::npos && notes.find("OFF") == std::string::npos) {
    return "speculative decoding";
  }
  if (split.find("replicas") != std::string::npos) return "replicas of servers, not one split";
  if (split.find("rpc") != std::string::npos || split.find("ring") != std::string::npos ||
      split == "cpu-offload" || split.find("CPU") != std::string::npos) {
    return "split over a network or with host experts: " + split;
  }
  if (split == "row") return "row split of old versions (not the tensor split)";
  if (split.find('?') != std::string::npos || split.find('/') != std::string::npos) {
    return "split mode not clear";
  }
  if (field(row, "quant").empty()) return "quantisation not stated";
  if (!number(field(row, "prefill_tps")) && !number(field(row, "decode_tps"))) return "no figure";
  return "";
}

// Equal-minded engines split layers by the cards' memory (llama.cpp's default), tensors evenly.
Result<Sketch> sketch_for(const ModelSpec& spec, const Machine& machine, const std::string& split) {
  Sketch sketch;
  const std::size_t count = machine.devices.size();
  if (count == 1 || split.starts_with("tensor") || split == "graph") {
    StageSketch stage{0, spec.num_layers, {}, {}};
    for (std::size_t i = 0; i < count; ++i) {
      stage.devices.push_back(i);
      stage.shares.push_back(1.0 / static_cast<double>(count));
    }
    return Sketch{stage};
  }
  if (split != "layer" && !split.starts_with("pipeline")) {
    return invalid_argument("split mode " + split);
  }
  std::vector<double> memory;
  for (const MachineDevice& device : machine.devices) {
    memory.push_back(static_cast<double>(device.memory_bytes.value_or(1)));
  }
  const auto layers = apportion(spec.num_layers, memory);
  for (std::size_t i = 0; i < count; ++i) {
    if (layers[i].empty()) continue;
    sketch.push_back({static_cast<std::int32_t>(layers[i].begin),
                      static_cast<std::int32_t>(layers[i].size()),
                      {i},
                      {1.0}});
  }
  return sketch;
}

struct Case {
  ModelSpec spec;
  Machine machine;
  Sketch sketch;
  const EngineProfile* engine = nullptr;
};

Result<Case> read_case(const CsvRow& row, const BacktestRow& out) {
  Case test;
  TANDEM_TRY(test.engine, find_engine(out.profile));
  TANDEM_TRY(PlannableModel model,
             plannable_model(model_name(out.model), quant_name(out.quant, out.profile)));
  test.spec = std::move(model.spec);
  TANDEM_TRY(test.machine,
             machine_from_text({{gpu_text(out.gpus)}, link_name(field(row, "link")), false}));
  const std::string& p2p = field(row, "p2p");
  for (Link& link : test.machine.links) {
    if (p2p.starts_with("yes")) link.peer_access = true;
    if (p2p == "no") link.peer_access = false;
  }
  if (const auto limit = number(field(row, "power_limit_w"))) {
    for (MachineDevice& device : test.machine.devices) device.power_limit_w = *limit;
  }
  TANDEM_TRY(test.sketch, sketch_for(test.spec, test.machine, out.split));
  return test;
}

std::string kind_of(const Machine& machine) {
  std::string kind;
  for (const MachineDevice& device : machine.devices) {
    const GpuModel* model = find_gpu_model(device.name);
    const std::string own = model == nullptr ? "unknown" : model->architecture;
    if (kind.empty()) kind = own;
    if (kind != own) return "mixed";
  }
  return kind;
}

// No stream decodes faster than its weights can be read at the printed bandwidth.
bool beyond_memory(const BacktestRow& out, const ModelCosts& model, const Bench& bench) {
  if (!out.measured_decode || out.concurrency != 1) return false;
  double bandwidth = 0;
  for (const DeviceRates& device : bench.devices) {
    bandwidth = out.split.starts_with("tensor") || out.split == "graph"
                    ? bandwidth + device.bandwidth_bytes
                    : std::max(bandwidth, device.bandwidth_bytes);
  }
  const RangeCosts whole = model.whole();
  return *out.measured_decode * (whole.bytes + whole.expert_bytes * model.expert_share()) >
         1.02 * bandwidth;
}

void predict_case(const CsvRow& row, const Case& test, BacktestRow& out) {
  auto bench = bench_of(test.machine, *test.engine);
  if (!bench.ok()) {
    out.why_unused = bench.error().to_string();
    return;
  }
  const ModelCosts costs(test.spec, ElementType::kF16);
  if (beyond_memory(out, costs, *bench)) {
    out.why_unused = "inconsistent: faster than the memory's printed bandwidth";
    return;
  }
  const Prompt prompt = read_prompt(field(row, "context_or_prompt_tokens"));
  const auto generated = static_cast<std::int64_t>(number(field(row, "gen_tokens")).value_or(128));
  Workload prefill{prompt.tokens > 0 ? prompt.tokens : 512, generated, 1, prompt.depth};
  Workload decode = prefill;
  decode.concurrency = out.concurrency;
  decode.prompt_tokens = prompt.tokens;
  const bool llama_bench = out.source.starts_with("Dai") || prompt.depth > 0;
  if (llama_bench) decode.prompt_tokens = 0;  // generation starts from an empty cache, or at depth
  if (out.engine == "ik_llama.cpp") {         // sweep-bench: 512 tokens at that depth
    prefill.depth_tokens = prompt.tokens;
    prefill.prompt_tokens = 512;
  }
  out.prompt_tokens = prefill.prompt_tokens;
  if (out.measured_decode) {
    const TimeEstimate estimate = estimate_time(costs, test.sketch, *bench, decode);
    out.predicted_decode = estimate.decode_tokens_per_s(decode.concurrency);
    if (decode.concurrency > 1) {
      // Servers' aggregate figures count the prompts' time too.
      const double sequences = decode.concurrency;
      const double generating = static_cast<double>(generated) * estimate.decode_step_s;
      out.predicted_decode = sequences * static_cast<double>(generated) /
                             (sequences * estimate.prefill_s + generating);
    }
    out.low = *out.predicted_decode * test.engine->typical_low;
    out.high = *out.predicted_decode * test.engine->typical_high;
  }
  if (out.measured_prefill) {
    const TimeEstimate estimate = estimate_time(costs, test.sketch, *bench, prefill);
    out.predicted_prefill = static_cast<double>(prefill.prompt_tokens) / estimate.prefill_s;
  }
}

}  // namespace

BacktestRow predict_row(const CsvRow& row) {
  BacktestRow out;
  out.line = field(row, "line");
  out.source = field(row, "source");
  out.engine = field(row, "engine");
  out.model = field(row, "model");
  out.quant = field(row, "quant");
  out.gpus = field(row, "gpus");
  out.split = field(row, "split_mode");
  out.held_out = is_held_out(out.source);
  out.profile = profile_of(out.engine, field(row, "date"));
  out.why_unused = reason_against(row, out.profile);
  if (!out.why_unused.empty()) return out;
  const std::string& batch = field(row, "batch_or_concurrency");
  const auto concurrency = batch.empty() ? std::optional<double>(1) : number(batch);
  if (!concurrency || *concurrency < 1 || *concurrency > 4096) {
    out.why_unused = "concurrency not a number: " + batch;
    return out;
  }
  out.concurrency = static_cast<std::int32_t>(*concurrency);
  out.measured_prefill = number(field(row, "prefill_tps"));
  out.measured_decode = number(field(row, "decode_tps"));
  if (out.measured_prefill && !(*out.measured_prefill > 0)) out.measured_prefill.reset();
  if (out.measured_decode && !(*out.measured_decode > 0)) out.measured_decode.reset();
  auto test = read_case(row, out);
  if (!test.ok()) {
    Error why = test.error();
    why.expected.clear();  // lists of names would hide the row's own
    out.why_unused = why.to_string();
    return out;
  }
  out.num_gpus = static_cast<std::int32_t>(test->machine.devices.size());
  out.gpu_kind = kind_of(test->machine);
  predict_case(row, *test, out);
  return out;
}

}  // namespace tandem
