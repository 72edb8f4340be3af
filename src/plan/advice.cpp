#include "plan/advice.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "machine/gpu_catalogue.h"
#include "plan/links.h"

namespace tandem {
namespace {

constexpr double kSmallestGain = 0.01;

std::optional<Plan> best_plan(const ModelSpec& spec, const Machine& machine,
                              const EngineProfile& engine, SearchRequest request) {
  request.max_plans = 3;  // rounding to heads and blocks may keep the first from fitting
  auto result = search_plans(spec, machine, engine, request);
  if (!result.ok() || result->plans.empty() || !result->plans.front().fits) return std::nullopt;
  return std::move(result->plans.front());
}

std::size_t num_gpus(const Machine& machine) {
  return static_cast<std::size_t>(std::count_if(
      machine.devices.begin(), machine.devices.end(),
      [](const MachineDevice& device) { return device.kind == MachineDeviceKind::kGpu; }));
}

// Every pair of GPUs with that link.
Machine with_links(Machine machine, const std::function<void(Link&)>& change) {
  for (std::size_t a = 0; a < machine.devices.size(); ++a) {
    for (std::size_t b = a + 1; b < machine.devices.size(); ++b) {
      const MachineDevice& from = machine.devices[a];
      const MachineDevice& to = machine.devices[b];
      if (from.kind != MachineDeviceKind::kGpu || to.kind != MachineDeviceKind::kGpu) continue;
      if (machine.find_link(from.id, to.id) == nullptr) {
        machine.links.push_back({from.id, to.id, LinkKind::kUnknown, {}, {}, {}});
      }
    }
  }
  for (Link& link : machine.links) {
    const MachineDevice* a = machine.find_device(link.a);
    const MachineDevice* b = machine.find_device(link.b);
    if (a->kind == MachineDeviceKind::kGpu && b->kind == MachineDeviceKind::kGpu) change(link);
  }
  return machine;
}

bool any_link(const Machine& machine, const std::function<bool(const Link&)>& holds) {
  return std::any_of(machine.links.begin(), machine.links.end(), holds);
}

// The bridge that all cards take, or nullptr.
const LinkSpec* bridge_for(const Machine& machine) {
  std::string name;
  for (const MachineDevice& device : machine.devices) {
    if (device.kind != MachineDeviceKind::kGpu) continue;
    const GpuModel* model = find_gpu_model(device.name, device.memory_bytes);
    if (model == nullptr || !model->nvlink_gbps || model->vendor != "NVIDIA") return nullptr;
    name = *model->nvlink_gbps > 250   ? "nvlink3sxm"
           : *model->nvlink_gbps > 105 ? "nvlink3"
                                       : "nvlink2";
  }
  const auto spec = find_link_spec(name);
  return spec.ok() ? *spec : nullptr;
}

constexpr int kMostMoreCards = 15;

// The least number of further cards of the first one's kind with which the model fits.
std::string more_cards(const ModelSpec& spec, Machine machine, const EngineProfile& engine,
                       const SearchRequest& request) {
  if (num_gpus(machine) == 0) return "";
  const auto first = std::find_if(
      machine.devices.begin(), machine.devices.end(),
      [](const MachineDevice& device) { return device.kind == MachineDeviceKind::kGpu; });
  const MachineDevice card = *first;
  for (int more = 1; more <= kMostMoreCards; ++more) {
    MachineDevice copy = card;
    copy.id = fmt::format("more:{}", more);
    machine.devices.push_back(copy);
    if (!best_plan(spec, machine, engine, request)) continue;
    return fmt::format("{} more {}", more, card.name);
  }
  return "";
}

struct Change {
  std::string what;
  Machine machine;
};

std::vector<Change> hardware_changes(const Machine& machine) {
  std::vector<Change> changes;
  if (num_gpus(machine) < 2) return changes;
  const bool nvlink =
      any_link(machine, [](const Link& link) { return link.kind == LinkKind::kNvlink; });
  if (const LinkSpec* bridge = bridge_for(machine); bridge != nullptr && !nvlink) {
    changes.push_back({"NVLink bridges between the cards", with_links(machine, [&](Link& link) {
                         link.kind = LinkKind::kNvlink;
                         link.peer_access = true;
                         link.bandwidth_gbps = bridge->bandwidth_gbps;
                         link.latency_us = bridge->latency_us;
                       })});
  }
  const bool peer = any_link(machine, [](const Link& link) { return link.peer_access == true; });
  if (!peer) {
    changes.push_back({"a driver that grants peer access over PCIe",
                       with_links(machine, [](Link& link) { link.peer_access = true; })});
  }
  if (!nvlink) {
    const LinkSpec& wide = pcie_link(4, 16);
    Machine wider = with_links(machine, [&](Link& link) {
      if (link.bandwidth_gbps) {
        link.bandwidth_gbps = std::max(*link.bandwidth_gbps, wide.bandwidth_gbps);
      }
    });
    for (MachineDevice& device : wider.devices) {
      if (device.pcie.width) device.pcie.width = std::max(*device.pcie.width, 16);
      if (device.pcie.max_generation) {
        device.pcie.max_generation = std::max(*device.pcie.max_generation, 4);
      }
    }
    if (wider != machine) changes.push_back({"PCIe 4.0 x16 for every card", std::move(wider)});
  }
  return changes;
}

void add_power_change(const Machine& machine, std::vector<Change>& changes) {
  Machine unlimited = machine;
  bool limited = false;
  for (MachineDevice& device : unlimited.devices) {
    const GpuModel* model = find_gpu_model(device.name, device.memory_bytes);
    if (device.kind != MachineDeviceKind::kGpu || model == nullptr || !model->power_w) continue;
    if (device.power_limit_w.value_or(*model->power_w) < *model->power_w) {
      device.power_limit_w = model->power_w;
      limited = true;
    }
  }
  if (limited) changes.push_back({"the cards' default power limit", std::move(unlimited)});
}

// Servers side by side, each on as few cards as hold the model, sharing the sequences: the best
// number of cards for each, where all cards are alike.
std::optional<Advice> replicas(const ModelSpec& spec, const Machine& machine,
                               const EngineProfile& engine, const SearchRequest& request,
                               const Plan& recommended) {
  const std::size_t gpus = num_gpus(machine);
  const std::int32_t sequences = request.workload.concurrency;
  if (sequences < 2 || gpus < 2) return std::nullopt;
  std::optional<Advice> best;
  for (std::size_t cards = 1; cards <= gpus / 2; ++cards) {
    const auto servers = static_cast<std::int32_t>(
        std::min<std::size_t>(gpus / cards, static_cast<std::size_t>(sequences)));
    Machine part;
    for (const MachineDevice& device : machine.devices) {
      const bool gpu = device.kind == MachineDeviceKind::kGpu;
      if (gpu && device.name != machine.devices.front().name) return std::nullopt;
      if (gpu && part.devices.size() < cards) part.devices.push_back(device);
    }
    SearchRequest changed = request;
    changed.workload.concurrency = (sequences + servers - 1) / servers;
    changed.plan.max_sequences = changed.workload.concurrency;
    const auto plan = best_plan(spec, part, engine, changed);
    if (!plan) continue;
    const double rate = plan->predicted->decode_tokens_per_s * servers;
    const double gain = rate / recommended.predicted->decode_tokens_per_s - 1;
    if (gain < kSmallestGain || (best && gain <= best->gain)) continue;
    best = Advice{fmt::format("{} servers side by side, each on {} of the cards, {} sequences each",
                              servers, cards, changed.workload.concurrency),
                  gain, rate, plan->predicted->prefill_tokens_per_s * servers};
  }
  return best;
}

}  // namespace

double request_seconds(const Plan& plan, const Workload& workload) {
  const Prediction& predicted = *plan.predicted;
  double seconds = static_cast<double>(workload.generated_tokens) * workload.concurrency /
                   predicted.decode_tokens_per_s;
  if (predicted.prefill_tokens_per_s > 0) {
    seconds += static_cast<double>(workload.prompt_tokens) / predicted.prefill_tokens_per_s;
  }
  return seconds;
}

std::vector<Advice> what_would_help(const ModelSpec& spec, const Machine& machine,
                                    const EngineProfile& engine, const SearchRequest& request,
                                    const Plan& recommended,
                                    const std::vector<Alternative>& alternatives) {
  std::vector<Advice> advice;
  const double now = request_seconds(recommended, request.workload);
  const auto consider = [&](const std::string& what, const ModelSpec& model, const Machine& on,
                            const SearchRequest& changed) {
    const auto plan = best_plan(model, on, engine, changed);
    if (!plan) return;
    const double gain = now / request_seconds(*plan, request.workload) - 1;
    if (gain < kSmallestGain) return;
    advice.push_back(
        {what, gain, plan->predicted->decode_tokens_per_s, plan->predicted->prefill_tokens_per_s});
  };
  std::vector<Change> changes = hardware_changes(machine);
  add_power_change(machine, changes);
  for (const Change& change : changes) consider(change.what, spec, change.machine, request);
  if (auto side_by_side = replicas(spec, machine, engine, request, recommended)) {
    advice.push_back(std::move(*side_by_side));
  }
  if (request.plan.split || request.plan.group_size || request.plan.num_stages) {
    SearchRequest open = request;
    open.plan.split.reset();
    open.plan.group_size.reset();
    open.plan.num_stages.reset();
    if (const auto plan = best_plan(spec, machine, engine, open)) {
      consider("another split: " + plan->name, spec, machine, open);
    }
  }
  int smaller = 0;
  for (const Alternative& alternative : alternatives) {
    if (alternative.spec.weight_bytes() >= spec.weight_bytes()) continue;
    if (++smaller > 2) break;  // further ones lose too much to be advice
    consider("quantisation " + alternative.name + " (less exact)", alternative.spec, machine,
             request);
  }
  std::stable_sort(advice.begin(), advice.end(),
                   [](const Advice& a, const Advice& b) { return a.gain > b.gain; });
  return advice;
}

std::optional<Plan> offload_plan(const ModelSpec& spec, const Machine& machine,
                                 const EngineProfile& engine, const SearchRequest& request) {
  if (num_gpus(machine) == 0 || num_gpus(machine) == machine.devices.size()) return std::nullopt;
  SearchRequest changed = request;
  changed.allow_offload = true;
  return best_plan(spec, machine, engine, changed);
}

std::vector<std::string> what_would_fit(const ModelSpec& spec, const Machine& machine,
                                        const EngineProfile& engine, const SearchRequest& request,
                                        const std::vector<Alternative>& alternatives) {
  std::vector<std::string> ways;
  SearchRequest changed = request;
  const std::int64_t trained = spec.context_tokens > 0 ? spec.context_tokens : 4096;
  const std::int64_t asked = !request.plan.context_tokens ? std::min(trained, kDefaultContextTokens)
                             : *request.plan.context_tokens == 0 ? trained
                                                                 : *request.plan.context_tokens;
  for (std::int64_t context = asked / 2; context >= 512; context /= 2) {
    changed.plan.context_tokens = context;
    if (!best_plan(spec, machine, engine, changed)) continue;
    ways.push_back(fmt::format("a context of {} tokens (-c {})", context, context));
    break;
  }
  changed = request;
  changed.plan.kv_type = ElementType::kQ8_0;
  if (request.plan.kv_type != ElementType::kQ8_0 &&
      bytes_of(ElementType::kQ8_0, spec.attention.head_dim) &&
      best_plan(spec, machine, engine, changed)) {
    ways.emplace_back("a cache of half the size (-ctk q8_0 -ctv q8_0)");
  }
  for (const Alternative& alternative : alternatives) {
    if (alternative.spec.weight_bytes() >= spec.weight_bytes()) continue;
    if (!best_plan(alternative.spec, machine, engine, request)) continue;
    ways.push_back("quantisation " + alternative.name);
    break;
  }
  if (const auto plan = offload_plan(spec, machine, engine, request);
      plan && !plan->notes.empty()) {
    ways.push_back(fmt::format("{}: {:.1f} tokens/s predicted (--offload)", plan->notes.front(),
                               plan->predicted->decode_tokens_per_s));
  }
  if (const std::string more = more_cards(spec, machine, engine, request); !more.empty()) {
    ways.push_back(more);
  }
  changed = request;
  if (request.plan.split || request.plan.group_size || request.plan.num_stages) {
    changed.plan.split.reset();
    changed.plan.group_size.reset();
    changed.plan.num_stages.reset();
    if (const auto plan = best_plan(spec, machine, engine, changed)) {
      ways.push_back("another split: " + plan->name);
    }
  }
  return ways;
}

}  // namespace tandem
