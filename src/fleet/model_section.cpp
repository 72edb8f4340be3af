#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "fleet/config_sections.h"

namespace tandem {
namespace {

constexpr std::int64_t kMostReplicas = 64;
constexpr std::int64_t kMostContext = std::int64_t{1} << 31;

constexpr std::pair<std::string_view, SplitMode> kSplits[] = {{"none", SplitMode::kNone},
                                                              {"layer", SplitMode::kLayer},
                                                              {"tensor", SplitMode::kTensor},
                                                              {"row", SplitMode::kTensor},
                                                              {"hybrid", SplitMode::kHybrid}};

void read_split(ConfigTable& table, std::optional<SplitMode>& split) {
  std::string text = "auto";
  table.read("split", text);
  if (text == "auto") return;
  for (const auto& [name, mode] : kSplits) {
    if (text == name) split = mode;
  }
  if (!split) table.wrong("split", "auto, none, layer, tensor or hybrid", "\"" + text + "\"");
}

void read_shares(ConfigTable& table, std::vector<double>& shares) {
  const toml::node* node = table.node("shares");
  if (node == nullptr) return;
  const toml::array* array = node->as_array();
  double sum = 0;
  for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
    const toml::node& element = (*array)[i];
    const auto share = element.is_number() ? element.value<double>() : std::nullopt;
    if (!share || !(*share >= 0 && *share <= 1e6)) {
      return table.wrong("shares", "numbers from 0 to 1000000", describe(element));
    }
    shares.push_back(*share);
    sum += *share;
  }
  if (!(sum > 0)) table.wrong("shares", "numbers such as [3, 1], not all 0", describe(*node));
}

void read_layout(ConfigTable& table, PlanRequest& plan) {
  plan.max_sequences = 8;
  table.read("context", plan.context_tokens, 0, kMostContext);
  table.read("parallel", plan.max_sequences, 1, 4096);
  table.read("batch", plan.max_batch_tokens, 1, 1 << 16);
  std::string type = "f16";
  table.read("kv_type", type);
  const auto element = element_type_from_name(type);
  if (element == ElementType::kF16 || element == ElementType::kF32 ||
      element == ElementType::kQ8_0) {
    plan.kv_type = *element;
  } else {
    table.wrong("kv_type", "f16, f32 or q8_0", "\"" + type + "\"");
  }
  read_split(table, plan.split);
  table.read("tp", plan.group_size, 1, 1024);
  table.read("pp", plan.num_stages, 1, 1024);
  read_shares(table, plan.shares);
  table.read("split_experts", plan.split_by_expert);
}

// "auto", a list of devices, or a list of such lists.
void read_devices(ConfigTable& table, PlacementWish& wish, std::vector<std::string>& flat) {
  const toml::node* node = table.node("devices");
  if (node == nullptr) return;
  if (node->is_string() && node->as_string()->get() == "auto") return;
  const toml::array* array = node->as_array();
  if (array == nullptr || array->empty()) {
    return table.wrong("devices", "\"auto\", or a list such as [\"cuda:0\"]", describe(*node));
  }
  if (!array->is_homogeneous(toml::node_type::array)) {
    table.read("devices", flat);
    return check_devices(table, "devices", flat);
  }
  for (const toml::node& element : *array) {
    std::vector<std::string> list;
    for (const toml::node& entry : *element.as_array()) {
      const auto text = entry.value_exact<std::string>();
      if (!text || text->empty()) return table.wrong("devices", "texts", describe(entry));
      list.push_back(*text);
    }
    if (list.empty()) return table.wrong("devices", "no empty list");
    check_devices(table, "devices", list);
    wish.devices.push_back(std::move(list));
  }
}

// One list a replica from a flat one.
void divide_devices(ConfigTable& table, const std::vector<std::string>& flat, PlacementWish& wish) {
  const auto replicas = static_cast<std::size_t>(wish.replicas.value_or(1));
  if (replicas == 1 || flat.size() == 1) {
    wish.devices.assign(replicas, flat);
    return;
  }
  if (flat.size() % replicas != 0) {
    return table.wrong("devices",
                       fmt::format("a multiple of {} devices, one, or a list a replica", replicas),
                       fmt::format("{} devices", flat.size()));
  }
  const std::size_t each = flat.size() / replicas;
  for (std::size_t i = 0; i < replicas; ++i) {
    const auto begin = flat.begin() + static_cast<std::ptrdiff_t>(i * each);
    wish.devices.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(each));
  }
}

void read_replicas(ConfigTable& table, PlacementWish& wish) {
  const toml::node* node = table.node("replicas");
  const bool is_auto = node != nullptr && node->is_string() && node->as_string()->get() == "auto";
  if (is_auto) {
    wish.replicas.reset();
  } else if (node != nullptr && !node->is_integer()) {
    table.wrong("replicas", fmt::format("1 to {} or \"auto\"", kMostReplicas), describe(*node));
  } else {
    table.read("replicas", wish.replicas, 1, kMostReplicas);
  }
}

void read_wish(ConfigTable& table, PlacementWish& wish) {
  read_layout(table, wish.plan);
  read_replicas(table, wish);
  std::vector<std::string> flat;
  read_devices(table, wish, flat);
  const bool nested = !wish.devices.empty();
  if (nested && table.has("replicas") && wish.replicas != static_cast<int>(wish.devices.size())) {
    table.wrong("replicas", fmt::format("as many as lists of devices: {}", wish.devices.size()));
  }
  if (nested) wish.replicas = static_cast<std::int32_t>(wish.devices.size());
  if (!nested && !flat.empty()) divide_devices(table, flat, wish);
  for (const std::vector<std::string>& list : wish.devices) {
    if (wish.replicas && !wish.plan.shares.empty() && wish.plan.shares.size() != list.size()) {
      table.wrong("shares", fmt::format("one for each of the {} devices", list.size()),
                  fmt::format("{}", wish.plan.shares.size()));
      break;
    }
  }
  if (!wish.plan.shares.empty() && (wish.devices.empty() || !wish.replicas)) {
    table.wrong("shares", "`devices` and a number of `replicas` to go with them");
  }
  if (table.has("memory")) {
    std::int64_t bytes = 0;
    table.read_bytes("memory", bytes);
    wish.memory_bytes = bytes;
  }
}

void read_residency(ConfigTable& table, ResidencyPolicy& policy) {
  std::string load = "startup";
  table.read("load", load);
  if (load != "startup" && load != "on-demand") {
    table.wrong("load", "\"startup\" or \"on-demand\"", "\"" + load + "\"");
  }
  policy.on_demand = load == "on-demand";
  table.read("pinned", policy.pinned);
  table.read("priority", policy.priority, -1000, 1000);
  if (const toml::node* node = table.node("idle_unload_s"); node != nullptr) {
    table.read_seconds("idle_unload_s", policy.idle_unload_ms, 0);
  }
  if (policy.pinned && policy.idle_unload_ms > 0) {
    table.wrong("idle_unload_s", "0 where the model is pinned");
  }
  table.read_seconds("load_timeout_s", policy.load_timeout_ms, 100);
}

void read_own_address(ConfigTable& table, std::optional<ListenAddress>& slot) {
  std::string text;
  table.read("listen", text);
  if (text.empty()) return;
  slot = parse_listen_address(text);
  if (!slot) table.wrong("listen", "\"host:port\" or \":port\"", "\"" + text + "\"");
}

// Flags of `tandem serve` that are the fleet's to set.
void check_arguments(ConfigTable& table, const ModelConfig& model) {
  static constexpr std::string_view kOwn[] = {"-m",
                                              "--model",
                                              "--devices",
                                              "--device",
                                              "-dev",
                                              "--split",
                                              "-sm",
                                              "--split-mode",
                                              "--tp",
                                              "--pp",
                                              "-ts",
                                              "--tensor-split",
                                              "-c",
                                              "--ctx-size",
                                              "-np",
                                              "--parallel",
                                              "-ub",
                                              "--ubatch-size",
                                              "-ctk",
                                              "-ctv",
                                              "--cache-type-k",
                                              "--cache-type-v",
                                              "--plan",
                                              "--host",
                                              "--port",
                                              "--api-key",
                                              "--api-key-file",
                                              "--ssl-cert-file",
                                              "--ssl-key-file",
                                              "-a",
                                              "--alias",
                                              "--split-experts",
                                              "--drain-timeout"};
  if (!model.worker.empty()) return;
  for (const std::string& argument : model.arguments) {
    const std::string_view flag = std::string_view(argument).substr(0, argument.find('='));
    if (std::find(std::begin(kOwn), std::end(kOwn), flag) == std::end(kOwn)) continue;
    table.wrong("args", "no flag that the fleet sets itself", std::string(flag));
  }
}

void read_file(ConfigTable& table, const std::string& folder, ModelConfig& model) {
  if (!table.has("file") && model.worker.empty()) {
    return table.add_error(
        table.line(), "no `file`",
        "file = \"model.gguf\", or \"builtin\" for the small model of the program");
  }
  std::string text;
  if (const toml::node* node = table.node("file"); node != nullptr && node->is_string()) {
    text = node->as_string()->get();
  }
  model.builtin = text == "builtin";
  if (!model.builtin) read_path(table, "file", folder, model.file);
  if (model.builtin && !model.worker.empty()) {
    table.wrong("file", "a file: other programs have no built-in model");
  }
  if (model.file.empty() && !model.worker.empty() && !model.placement.memory_bytes) {
    table.add_error(table.line(), "no `file` to plan by and no `memory`",
                    "one of them, so that the model can be placed");
  }
}

}  // namespace

void read_model(ConfigTable& table, const std::string& folder, ModelConfig& model) {
  model.line = {table.line()};
  read_name(table, "model", model.name);
  table.read("aliases", model.aliases);
  table.read("worker", model.worker);
  read_wish(table, model.placement);
  read_file(table, folder, model);
  read_residency(table, model.residency);
  read_limits(table, model.limits);
  read_own_address(table, model.listen);
  table.read("args", model.arguments);
  check_arguments(table, model);
}

}  // namespace tandem
