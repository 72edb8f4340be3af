#include "plan/links.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/lower_case.h"
#include "machine/gpu_catalogue.h"

namespace tandem {
namespace data {
extern const std::string_view kLinksJson;
}

namespace {

// A copy staged through pinned host memory runs down one link while it runs up the other; chunks
// and the hand-over in the middle leave about three quarters (two RTX 5060 Ti on PCIe 3.0 x8
// without peer access reduce at about 5 GB/s, published llama.cpp rows).
constexpr double kStagedShare = 0.75;
constexpr double kStagedExtraUs = 8;

// Of the makers' figure for one direction (data/links.json, about).
constexpr double kNvlinkShare = 0.9;

const LinkSpec& spec_named(std::string_view name) {
  auto found = find_link_spec(name);
  TANDEM_CHECK(found.ok(), "data/links.json lacks " + std::string(name));
  return **found;
}

}  // namespace

const std::vector<LinkSpec>& link_specs() {
  static const std::vector<LinkSpec> specs = [] {
    std::vector<LinkSpec> out;
    const nlohmann::json json = nlohmann::json::parse(data::kLinksJson);
    for (const auto& entry : json.at("links")) {
      out.push_back({entry.at("name"), entry.at("bandwidth_gbps"), entry.at("latency_us"),
                     entry.at("source")});
    }
    return out;
  }();
  return specs;
}

Result<const LinkSpec*> find_link_spec(std::string_view name) {
  const std::string wanted = lower_case(name);
  std::string known;
  for (const LinkSpec& spec : link_specs()) {
    if (spec.name == wanted) return &spec;
    known += (known.empty() ? "" : ", ") + spec.name;
  }
  return Error{ErrorCode::kNotFound, "unknown link", "--link", known, std::string(name)};
}

const LinkSpec& pcie_link(int generation, int width) {
  const int known_generation = std::clamp(generation, 2, 5);
  int known_width = 1;
  for (const int candidate : {2, 4, 8, 16}) {
    const bool known = candidate != 2 || known_generation > 2;
    if (width >= candidate && known) known_width = candidate;
  }
  return spec_named(fmt::format("pcie{}x{}", known_generation, known_width));
}

Wire wire_between(const Machine& machine, const MachineDevice& a, const MachineDevice& b) {
  if (a.kind == MachineDeviceKind::kCpu && b.kind == MachineDeviceKind::kCpu) {
    const LinkSpec& spec = spec_named("shared-memory");
    const Link* link = machine.find_link(a.id, b.id);
    return {
        link == nullptr ? spec.bandwidth_gbps : link->bandwidth_gbps.value_or(spec.bandwidth_gbps),
        link == nullptr ? spec.latency_us : link->latency_us.value_or(spec.latency_us), true,
        false};
  }
  const auto slot = [](const MachineDevice& device) -> const LinkSpec& {
    return pcie_link(device.pcie.max_generation.value_or(device.pcie.generation.value_or(4)),
                     device.pcie.width.value_or(device.pcie.max_width.value_or(16)));
  };
  Wire wire;
  const MachineDevice& gpu = a.kind == MachineDeviceKind::kCpu ? b : a;
  const LinkSpec& slower =
      a.kind == b.kind && slot(b).bandwidth_gbps < slot(a).bandwidth_gbps ? slot(b) : slot(gpu);
  wire = {slower.bandwidth_gbps, slower.latency_us, false, false};
  if (const Link* link = machine.find_link(a.id, b.id)) {
    wire.nvlink = link->kind == LinkKind::kNvlink;
    wire.peer = link->peer_access.value_or(wire.nvlink);
    if (wire.nvlink) {
      // What a bridge of the card's generation reaches, where nobody measured it.
      const GpuModel* model = find_gpu_model(a.name, a.memory_bytes);
      const LinkSpec& bridge = spec_named("nvlink3");
      wire.latency_us = bridge.latency_us;
      wire.bandwidth_gbps = model != nullptr && model->nvlink_gbps
                                ? *model->nvlink_gbps / 2 * kNvlinkShare
                                : bridge.bandwidth_gbps;
    }
    if (link->bandwidth_gbps) wire.bandwidth_gbps = *link->bandwidth_gbps;
    if (link->latency_us) wire.latency_us = *link->latency_us;
  }
  if (!wire.peer && a.kind == b.kind) {
    wire.bandwidth_gbps *= kStagedShare;
    wire.latency_us += kStagedExtraUs;
  }
  return wire;
}

AllReduceTime all_reduce_time(const Wire& wire, int group_size, double bytes) {
  if (group_size < 2) return {};
  const double p = group_size;
  const double latency = wire.latency_us * 1e-6;
  const double bandwidth = std::max(wire.bandwidth_gbps, 1e-6) * 1e9;
  const double halves = 2 * (p - 1) / p * bytes / bandwidth;
  const double levels = std::ceil(std::log2(p));
  std::array<AllReduceTime, 4> candidates = {
      AllReduceTime{2 * (p - 1) * latency, halves},
      AllReduceTime{2 * levels * latency, 2 * levels * bytes / bandwidth},
      AllReduceTime{latency, (p - 1) * bytes / bandwidth}, AllReduceTime{2 * latency, halves}};
  const auto end = wire.peer ? candidates.end() : candidates.begin() + 2;
  return *std::min_element(candidates.begin(), end,
                           [](const auto& a, const auto& b) { return a.total_s() < b.total_s(); });
}

}  // namespace tandem
