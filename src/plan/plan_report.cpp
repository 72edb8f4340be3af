#include "plan/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/units.h"

namespace tandem {
namespace {

constexpr int kBarCells = 24;

std::string bar(double share) {
  const int filled = std::clamp(static_cast<int>(share * kBarCells + 0.5), 0, kBarCells);
  std::string out;
  for (int i = 0; i < kBarCells; ++i) out += i < filled ? "#" : ".";
  return share > 1 ? out + "!" : out;
}

std::string range_text(const Prediction& predicted) {
  return fmt::format("{:.1f} ({:.1f}-{:.1f})", predicted.decode_tokens_per_s, predicted.low,
                     predicted.high);
}

// "RTX 3090: " where the device has a name.
std::string named(const std::map<std::string, std::string>& names, const std::string& device) {
  const std::string name = name_of_device(names, device);
  return name.empty() ? "" : name + ": ";
}

std::string devices_text(const PlanReport& report) {
  const Plan& plan = report.plans.front();
  std::string out;
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const StagePlan& stage = plan.stages[i];
    out += fmt::format("  stage {}: layers {}-{}\n", i, stage.first_layer,
                       stage.first_layer + stage.num_layers - 1);
    for (const RankPlan& rank : stage.ranks) {
      const double used = rank.capacity_bytes > 0 ? static_cast<double>(rank.total_bytes()) /
                                                        static_cast<double>(rank.capacity_bytes)
                                                  : 0;
      out += fmt::format("    {:<8} {:>5.1f} %  [{}] {} of {}\n", rank.device, 100 * rank.share,
                         bar(used), format_bytes(rank.total_bytes()),
                         rank.capacity_bytes > 0 ? format_bytes(rank.capacity_bytes) : "unknown");
      out += fmt::format("      {}weights {}, cache {}, compute {}\n",
                         named(report.device_names, rank.device), format_bytes(rank.weights_bytes),
                         format_bytes(rank.kv_bytes), format_bytes(rank.compute_bytes));
    }
  }
  return out;
}

std::string table_of(const std::vector<Plan>& plans) {
  std::size_t width = std::string_view("plan").size();
  for (const Plan& plan : plans) width = std::max(width, plan.name.size());
  std::string out =
      fmt::format("{:<{}} {:>4} {:>7} {:>19} {:>8} {:>6} {:>5}\n", "plan", width, "fits", "prefill",
                  "decode tokens/s", "speed-up", "effic.", "watts");
  for (const Plan& plan : plans) {
    if (!plan.predicted || !plan.scaling) continue;
    out += fmt::format("{:<{}} {:>4} {:>7.0f} {:>19} {:>7.2f}x {:>4.0f} % {:>5.0f}\n", plan.name,
                       width, plan.fits ? "yes" : "no", plan.predicted->prefill_tokens_per_s,
                       range_text(*plan.predicted), plan.scaling->predicted_speedup,
                       100 * plan.scaling->efficiency, plan.power_w.value_or(0));
  }
  return out;
}

std::string losses_text(const Plan& plan) {
  const ScalingReport& scaling = *plan.scaling;
  std::string out = fmt::format(
      "where the ideal goes: {} devices, theoretical {:.2f}x the fastest alone, predicted "
      "{:.2f}x\n",
      scaling.num_devices, scaling.theoretical_speedup, scaling.predicted_speedup);
  out += fmt::format("  {:>5.1f} %  used\n", 100 * scaling.efficiency);
  for (const LossLine& line : loss_lines(scaling)) {
    if (line.fraction < 0.0005) continue;
    out += fmt::format("  {:>5.1f} %  {}: {}\n", 100 * line.fraction, line.cause, line.why);
  }
  return out;
}

}  // namespace

std::vector<LossLine> loss_lines(const ScalingReport& scaling) {
  const ScalingLosses& losses = scaling.losses;
  std::vector<LossLine> lines = {
      {"bubble", losses.bubble, "stages wait for one another; one stream uses one stage at a time"},
      {"all-reduce latency", losses.all_reduce_latency,
       "two reductions a layer, each pays the way between the cards"},
      {"all-reduce bandwidth", losses.all_reduce_bandwidth, "activations over the links"},
      {"stage transfer", losses.stage_transfer, "hidden states handed from stage to stage"},
      {"imbalance", losses.imbalance, "the slowest rank sets the pace"},
      {"launch", losses.launch, "fixed cost of each layer, which no split shrinks"},
      {"host", losses.host, "sampling and scheduling"}};
  std::stable_sort(lines.begin(), lines.end(),
                   [](const LossLine& a, const LossLine& b) { return a.fraction > b.fraction; });
  return lines;
}

std::string describe_machine(const Machine& machine) {
  std::vector<std::pair<std::string, int>> counts;
  for (const MachineDevice& device : machine.devices) {
    const bool host = device.kind == MachineDeviceKind::kCpu && device.id == "cpu";
    const std::string name = host ? "host" : device.name.empty() ? device.id : device.name;
    const auto found = std::find_if(counts.begin(), counts.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (found == counts.end()) {
      counts.emplace_back(name, 1);
    } else {
      ++found->second;
    }
  }
  std::string out;
  for (const auto& [name, count] : counts) {
    out += (out.empty() ? "" : " + ") + (count > 1 ? fmt::format("{}x {}", count, name) : name);
  }
  return out;
}

std::map<std::string, std::string> device_names(const Machine& machine) {
  std::map<std::string, std::string> names;
  for (const MachineDevice& device : machine.devices) {
    if (!device.name.empty() && device.name != device.id) names[device.id] = device.name;
  }
  return names;
}

std::string name_of_device(const std::map<std::string, std::string>& names,
                           const std::string& device) {
  const auto found = names.find(device);
  return found == names.end() ? "" : found->second;
}

std::string plan_report_text(const PlanReport& report) {
  std::string out =
      fmt::format("{} on {}, engine {}\n", report.model, report.machine, report.engine);
  out += fmt::format("workload: {} prompt and {} generated tokens, {} at once\n\n",
                     report.workload.prompt_tokens, report.workload.generated_tokens,
                     report.workload.concurrency);
  if (report.plans.empty()) return out + "no plan\n";
  const Plan& best = report.plans.front();
  if (best.fits) {
    out += fmt::format("recommended for {}: {}\n", report.objective, best.name);
  } else {
    out += fmt::format("nothing fits; the nearest: {}\n  {}\n", best.name, best.why_not);
    for (const std::string& way : report.would_fit) out += "  would fit: " + way + "\n";
  }
  out += devices_text(report);
  for (const std::string& note : best.notes) out += "  note: " + note + "\n";
  out += "\n" + table_of(report.plans);
  if (best.scaling && best.scaling->num_devices > 1) out += "\n" + losses_text(best);
  if (!report.help.empty()) out += "\nwhat would help\n";
  for (const Advice& advice : report.help) {
    out += fmt::format("  {:>+5.0f} %  {} (decode {:.1f}, prefill {:.0f} tokens/s)\n",
                       100 * advice.gain, advice.what, advice.decode_tokens_per_s,
                       advice.prefill_tokens_per_s);
  }
  for (const std::string& assumption : report.assumptions) out += "\nassumed: " + assumption;
  if (!report.assumptions.empty()) out += "\n";
  for (const std::string& source : report.sources) out += "\n" + source + "\n";
  return out;
}

}  // namespace tandem
