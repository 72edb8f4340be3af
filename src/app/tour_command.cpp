#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <numeric>

#include "app/command.h"
#include "app/generate.h"
#include "base/units.h"
#include "machine/local_machine.h"

namespace tandem {
namespace {

// Its greedy continuation has no near-tie (models/PROVENANCE.md: smallest margin 0.046), so that
// rounding alone cannot turn a word.
constexpr const char* kPrompt = "The LORD is my shepherd;";
constexpr std::int32_t kAnswerTokens = 40;
constexpr int kRepeats = 3;

struct Setup {
  std::string title;
  std::string devices;
  std::string split;
};

struct Measured {
  std::string text;
  double prefill_tokens_per_s = 0;
  double decode_tokens_per_s = 0;
};

// One core alone, then two of them; where there is only one, two ranks share it.
std::vector<Setup> setups_of(const Machine& machine) {
  std::vector<int> cores;
  for (const MachineDevice& device : machine.devices) {
    cores.insert(cores.end(), device.cores.begin(), device.cores.end());
  }
  if (cores.empty()) cores.push_back(0);
  const std::string one = fmt::format("cpu:{}", cores[0]);
  const std::string two = cores.size() > 1 ? fmt::format("{},cpu:{}", one, cores[1])
                                           : fmt::format("{}#0,{}#1", one, one);
  return {{"one device", one, "none"},
          {"tensor parallel over two", two, "tensor"},
          {"pipelined over two", two, "layer"}};
}

void print_machine(const Machine& machine) {
  fmt::print("This machine\n  {}, {} cores, {}\n", machine.host.cpu.value_or("unknown processor"),
             machine.host.cores.value_or(0), format_bytes(machine.host.memory_bytes.value_or(0)));
  for (const MachineDevice& device : machine.devices) {
    fmt::print("  device {:<10} {}\n", device.id, device.name);
  }
}

void print_plan(const Plan& plan) {
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      fmt::print("  {:<10} layers {:>2}-{:<2}  heads {:>2}-{:<2}  width {:>4}  weights {}\n",
                 rank.device, stage.first_layer, stage.first_layer + stage.num_layers - 1,
                 rank.shard.q_heads.begin, rank.shard.q_heads.end - 1, rank.shard.ffn.size(),
                 format_bytes(rank.weights_bytes));
    }
  }
}

GenerationRequest greedy_request(std::vector<std::int32_t> prompt, std::int32_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.ignore_eos = true;
  request.cache_prompt = false;
  return request;
}

double best_rate(double best, std::int32_t count, std::int64_t microseconds) {
  return microseconds > 0 ? std::max(best, count * 1e6 / static_cast<double>(microseconds)) : best;
}

Result<Measured> try_setup(const Setup& setup, const std::string& model_path) {
  ModelOptions options;
  options.model_path = model_path;
  options.devices = setup.devices;
  options.split = setup.split;
  fmt::print("\n{}\n", setup.title);
  TANDEM_TRY(LoadedModel model, load_model(options));
  print_plan(model.plan);
  const auto prompt = model.tokenizer->encode(kPrompt);
  Measured measured;
  TANDEM_TRY(const Answered answered,
             answer(*model.engine, greedy_request(prompt, kAnswerTokens), {}));
  measured.text = answered.text;
  // A prompt long enough to measure: the text again and again.
  std::vector<std::int32_t> longer;
  const auto context = static_cast<std::size_t>(model.plan.context_tokens);
  while (longer.size() < context / 2) longer.insert(longer.end(), prompt.begin(), prompt.end());
  for (int i = 0; i < kRepeats; ++i) {
    TANDEM_TRY(const Answered timed, answer(*model.engine, greedy_request(longer, 64), {}));
    const FinishEvent& finish = timed.finish;
    measured.prefill_tokens_per_s = best_rate(
        measured.prefill_tokens_per_s, finish.usage.prompt_tokens, finish.timings.prefill_us);
    measured.decode_tokens_per_s = best_rate(
        measured.decode_tokens_per_s, finish.usage.completion_tokens - 1, finish.timings.decode_us);
  }
  fmt::print("  \"{}{}\"\n", kPrompt, answered.text);
  return measured;
}

void print_scaling(const std::vector<Setup>& setups, const std::vector<Measured>& measured) {
  fmt::print("\n{:<26} {:>14} {:>8} {:>14} {:>8}\n", "setup", "prompt tok/s", "speedup",
             "answer tok/s", "speedup");
  for (std::size_t i = 0; i < setups.size(); ++i) {
    fmt::print("{:<26} {:>14.0f} {:>7.2f}x {:>14.0f} {:>7.2f}x\n", setups[i].title,
               measured[i].prefill_tokens_per_s,
               measured[i].prefill_tokens_per_s / measured[0].prefill_tokens_per_s,
               measured[i].decode_tokens_per_s,
               measured[i].decode_tokens_per_s / measured[0].decode_tokens_per_s);
  }
  fmt::print("(A model this small waits more than it computes; larger ones gain more.)\n");
}

Status take_tour(const std::string& model_path) {
  TANDEM_TRY(const Machine machine, detect_local_machine());
  print_machine(machine);
  const std::vector<Setup> setups = setups_of(machine);
  std::vector<Measured> measured;
  for (const Setup& setup : setups) {
    TANDEM_TRY(Measured one, try_setup(setup, model_path));
    measured.push_back(std::move(one));
  }
  for (std::size_t i = 1; i < measured.size(); ++i) {
    if (measured[i].text == measured[0].text) continue;
    return Error{ErrorCode::kInternal, "another text than one device's", setups[i].title,
                 "\"" + measured[0].text + "\"", "\"" + measured[i].text + "\""};
  }
  fmt::print("\nThe three outputs agree.\n");
  print_scaling(setups, measured);
  return {};
}

}  // namespace

void add_tour_command(CLI::App& app, CommandOutcome& outcome) {
  auto model_path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "tour",
      "Show this machine, run a model on one device, split by tensor and by layer, compare");
  command->add_option("-m,--model", *model_path, "GGUF file; default: the embedded model");
  command->callback(
      [model_path, &outcome] { finish_command(outcome, [&] { return take_tour(*model_path); }); });
}

}  // namespace tandem
