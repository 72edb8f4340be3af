#include "machine/report/machine_tree.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/units.h"
#include "machine/assemble.h"
#include "machine/findings/findings.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

Severity gravest(const std::vector<Finding>& findings, const std::string& subject) {
  Severity worst = Severity::kOk;
  for (const Finding& finding : findings)
    if (finding.subject == subject && finding.severity >= Severity::kWarning)
      worst = std::max(worst, finding.severity);
  return worst;
}

// ", 12 NVLinks of 25 GB/s", those that are up.
std::string nvlinks_text(const GpuFacts& gpu) {
  int active = 0;
  double gbps = 0;
  if (gpu.nvlinks)
    for (const NvLinkState& link : *gpu.nvlinks)
      if (link.active) {
        ++active;
        gbps = std::max(gbps, link.gbps);
      }
  if (active == 0) return {};
  return ", " + std::to_string(active) + (active == 1 ? " NVLink" : " NVLinks") +
         (gbps > 0 ? " of " + gbps_text(gbps) : "");
}

std::string gpu_label_text(const Survey& survey, int index) {
  const GpuFacts& gpu = gpu_at(survey, index);
  std::string text = survey.gpu_id(index) + "  " + gpu.name.value_or("GPU");
  if (gpu.memory_bytes) text += ", " + format_bytes(*gpu.memory_bytes);
  if (gpu.power.limit_w) text += ", " + number_text(*gpu.power.limit_w) + " W";
  text += nvlinks_text(gpu);
  if (gpu.has_driver == false) text += ", no driver";
  return text;
}

std::string gpu_link_text(const Survey& survey, int index) {
  const GpuFacts& gpu = gpu_at(survey, index);
  if (!gpu.link.generation && !gpu.link.max_generation && !gpu.link.width) {
    const PciDevice* device = gpu.address ? survey.find_pci(*gpu.address) : nullptr;
    return device != nullptr && device->link_gbps ? gbps_text(*device->link_gbps) + " now" : "";
  }
  const std::string now = link_text(
      gpu.link.generation ? gpu.link.generation : gpu.link.max_generation, gpu.link.width);
  const std::string most = link_text(gpu.link.max_generation, gpu.link.max_width);
  const bool most_known = gpu.link.max_generation || gpu.link.max_width;
  if (survey.is_planned || now == most || !most_known) return now;
  const bool slow = gpu.link.generation && gpu.link.max_generation &&
                    *gpu.link.generation < *gpu.link.max_generation;
  const auto idle = gpu.is_idle();
  const char* why = !slow || idle == false ? "" : idle ? " (idle)" : " (idle?)";
  return now + " now" + why + ", " + most + " at most";
}

TreeNode gpu_node(const Survey& survey, const std::vector<Finding>& findings, int index) {
  TreeNode node;
  node.kind = TreeNode::Kind::kGpu;
  node.label = gpu_label_text(survey, index);
  if (gpu_at(survey, index).address)
    node.label += "  [" + gpu_at(survey, index).address->to_string() + "]";
  node.link = gpu_link_text(survey, index);
  node.severity = gravest(findings, survey.gpu_label(index));
  return node;
}

TreeNode bridge_node(const PciDevice& device, bool is_root) {
  TreeNode node;
  const bool chipset = is_chipset_bridge(device);
  // NCCL's files give such addresses to switches whose own they leave out.
  if (device.address.domain == 0xFFFF) is_root = false;
  node.kind = chipset   ? TreeNode::Kind::kChipset
              : is_root ? TreeNode::Kind::kPort
                        : TreeNode::Kind::kSwitch;
  node.label = std::string(chipset                               ? "chipset "
                           : is_root                             ? "root port "
                           : device.port == PciPort::kDownstream ? "switch port "
                                                                 : "switch ") +
               device.address.to_string();
  if (device.physical_slot) node.label += ", slot " + *device.physical_slot;
  if (device.link.max_generation || device.link.max_width) {
    node.link = link_text(device.link.max_generation, device.link.max_width) + " at most";
    if (device.link.width && device.link.max_width && *device.link.width < *device.link.max_width)
      node.link += ", x" + std::to_string(*device.link.width) + " in use";
  } else if (device.link_gbps) {
    node.link = gbps_text(*device.link_gbps) + " now";
  }
  return node;
}

// The bridges from the root down to just above the card's own switch.
std::vector<const PciDevice*> bridges_to(const Survey& survey, int index) {
  std::vector<const PciDevice*> bridges;
  const GpuFacts& gpu = gpu_at(survey, index);
  if (!gpu.address) return bridges;
  const PciDevice* entry = card_entry(survey, index);
  bool above = false;
  for (const PciDevice* device : survey.chain(*gpu.address)) {
    if (above && device->is_bridge()) bridges.push_back(device);
    if (device == entry) above = true;
  }
  std::reverse(bridges.begin(), bridges.end());
  return bridges;
}

using Path = std::vector<const PciDevice*>;

// Hangs GPUs below the bridges they share from `depth` on.
void add_below(const Survey& survey, const std::vector<Finding>& findings,
               const std::map<int, Path>& paths, std::size_t depth, TreeNode& parent) {
  std::set<const PciDevice*> done;
  for (const auto& [index, path] : paths) {
    if (path.size() <= depth) {
      parent.children.push_back(gpu_node(survey, findings, index));
      continue;
    }
    const PciDevice* bridge = path[depth];
    if (!done.insert(bridge).second) continue;
    TreeNode node = bridge_node(*bridge, depth == 0);
    std::map<int, Path> below;
    for (const auto& [other, other_path] : paths)
      if (other_path.size() > depth && other_path[depth] == bridge)
        below.emplace(other, other_path);
    add_below(survey, findings, below, depth + 1, node);
    parent.children.push_back(std::move(node));
  }
}

std::string host_label(const Survey& survey) {
  const Host& host = survey.host.host;
  std::string text = host.cpu.value_or("CPU not known");
  if (host.sockets && *host.sockets > 1) text += ", " + std::to_string(*host.sockets) + " sockets";
  if (host.cores)
    text += ", " + std::to_string(*host.cores) + (*host.cores == 1 ? " core" : " cores");
  if (host.memory_bytes) text += ", " + format_bytes(*host.memory_bytes);
  if (const std::size_t nodes = host.numa_nodes.size(); nodes > 0)
    text += ", " + std::to_string(nodes) + (nodes == 1 ? " NUMA node" : " NUMA nodes");
  if (survey.host.board) text += "  (" + *survey.host.board + ")";
  return text;
}

std::string numa_label(const Survey& survey, int index) {
  std::string text = "NUMA node " + std::to_string(index);
  for (const NumaNode& node : survey.host.host.numa_nodes) {
    if (node.index != index) continue;
    if (!node.cores.empty()) text += ", " + std::to_string(node.cores.size()) + " logical CPUs";
    if (node.memory_bytes) text += ", " + format_bytes(*node.memory_bytes);
  }
  return text;
}

std::string short_way(LinkKind kind) {
  switch (kind) {
    case LinkKind::kNvlink:
      return "NVLink";
    case LinkKind::kPcieSwitch:
      return "switch";
    case LinkKind::kPcieHost:
      return "PHB";
    case LinkKind::kPcieNode:
      return "NODE";
    case LinkKind::kSockets:
      return "SYS";
    default:
      return "?";
  }
}

bool knows_a_way(const std::vector<std::vector<std::string>>& rows) {
  for (const auto& row : rows)
    for (const std::string& cell : row)
      if (cell != "?" && cell != "." && cell.find(' ') != std::string::npos) return true;
  return false;
}

// What a copy from one card to another takes, with the speed where it is known: measured, or by the
// slower of the two links. Through host memory every byte crosses two links; how far those overlap
// decides between half and all of the speed.
std::string transport_text(const Survey& survey, int a, int b) {
  const Link* link = survey.machine.find_link(survey.gpu_id(a), survey.gpu_id(b));
  const GpuPair* pair = survey.find_pair(a, b);
  // Whole numbers from 100 on: measured pairs of equal links then share a line.
  const auto each_way = [](const std::optional<double>& gbps) {
    if (!gbps) return std::string();
    return ", " + gbps_text(*gbps >= 100 ? std::round(*gbps) : *gbps) + " each way";
  };
  if (link == nullptr) return {};
  if (link->kind != LinkKind::kNvlink && !link->peer_access)
    return pair != nullptr && pair->measured_gbps ? "measured" + each_way(pair->measured_gbps) : "";
  if (link->peer_access == false) {
    if (pair != nullptr && pair->measured_without_gbps)
      return "through host memory, measured" + each_way(pair->measured_without_gbps).substr(1);
    if (!link->bandwidth_gbps) return "through host memory";
    return "through host memory, " + gbps_text(*link->bandwidth_gbps / 2) + " to " +
           gbps_text(*link->bandwidth_gbps) + " each way";
  }
  if (link->kind == LinkKind::kNvlink) return "NVLink" + each_way(link->bandwidth_gbps);
  const std::string way = short_way(link->kind);
  return (way == "?" ? "directly" : "directly over PCIe (" + way + ")") +
         each_way(link->bandwidth_gbps);
}

}  // namespace

TreeNode machine_tree(const Survey& survey, const std::vector<Finding>& findings) {
  TreeNode root;
  root.label = host_label(survey);
  root.severity = gravest(findings, "host");
  std::set<int> nodes;
  for (const NumaNode& node : survey.host.host.numa_nodes) nodes.insert(node.index);
  for (const GpuFacts& gpu : survey.gpus)
    if (gpu.numa_node) nodes.insert(*gpu.numa_node);
  std::map<std::optional<int>, std::map<int, Path>> by_node;
  for (int i = 0; i < num_gpus(survey); ++i)
    by_node[nodes.size() > 1 ? gpu_at(survey, i).numa_node : std::nullopt].emplace(
        i, bridges_to(survey, i));
  if (nodes.size() <= 1) {
    for (const auto& [node, paths] : by_node) add_below(survey, findings, paths, 0, root);
    return root;
  }
  for (int index : nodes) {
    TreeNode node;
    node.kind = TreeNode::Kind::kNuma;
    node.label = numa_label(survey, index);
    if (const auto found = by_node.find(index); found != by_node.end())
      add_below(survey, findings, found->second, 0, node);
    root.children.push_back(std::move(node));
  }
  if (const auto found = by_node.find(std::nullopt); found != by_node.end()) {
    TreeNode node;
    node.kind = TreeNode::Kind::kNuma;
    node.label = "NUMA node not known";
    add_below(survey, findings, found->second, 0, node);
    root.children.push_back(std::move(node));
  }
  return root;
}

std::vector<std::vector<std::string>> pair_matrix(const Survey& survey) {
  const int count = num_gpus(survey);
  if (count < 2) return {};
  std::vector<std::vector<std::string>> rows(1, std::vector<std::string>{""});
  for (int i = 0; i < count; ++i) rows[0].push_back(survey.gpu_id(i));
  for (int a = 0; a < count; ++a) {
    rows.push_back({survey.gpu_id(a)});
    for (int b = 0; b < count; ++b) {
      if (a == b) {
        rows.back().push_back(".");
        continue;
      }
      const GpuPair* pair = survey.find_pair(a, b);
      const auto access = peer_access_between(survey, a, b);
      const std::string way = pair != nullptr && pair->topology
                                  ? *pair->topology
                                  : short_way(link_kind_between(survey, a, b));
      if (way == "?" && !access) {
        rows.back().push_back("?");
        continue;
      }
      rows.back().push_back(way + (access ? *access ? " +" : " -" : " ?"));
    }
  }
  return knows_a_way(rows) ? rows : std::vector<std::vector<std::string>>{};
}

std::string pair_legend() {
  return "NV#: # NVLinks, switch, PIX, PXB: PCIe switch, PHB: one CPU port to another, NODE: "
         "across host "
         "bridges, SYS: across sockets; + direct copies, - through host memory, ? not known";
}

std::vector<std::string> transport_lines(const Survey& survey) {
  std::vector<std::pair<std::string, std::string>> groups;  // the way, its pairs
  bool all_known = num_gpus(survey) > 2;
  for (int a = 0; a < num_gpus(survey); ++a)
    for (int b = a + 1; b < num_gpus(survey); ++b) {
      const std::string way = transport_text(survey, a, b);
      all_known = all_known && !way.empty();
      if (way.empty()) continue;
      auto group = std::find_if(groups.begin(), groups.end(),
                                [&](const auto& known) { return known.first == way; });
      if (group == groups.end()) group = groups.insert(groups.end(), {way, ""});
      group->second += " " + std::to_string(a) + "-" + std::to_string(b);
    }
  std::vector<std::string> lines;
  constexpr std::size_t kMaxLines = 12;  // measured speeds differ from pair to pair
  if (groups.size() > kMaxLines) groups.resize(kMaxLines);
  for (const auto& [way, pairs] : groups)
    lines.push_back(way + ":" + (all_known && groups.size() == 1 ? " every pair" : pairs));
  return lines;
}

}  // namespace tandem
