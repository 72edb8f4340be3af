#include <algorithm>
#include <map>

#include "machine/core_list.h"
#include "machine/findings/findings.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

const NumaNode* node_numbered(const Survey& survey, int index) {
  for (const NumaNode& node : survey.host.host.numa_nodes)
    if (node.index == index) return &node;
  return nullptr;
}

// numa-remote: this process may not run near a card it would use.
void find_remote(const Survey& survey, std::vector<Finding>& findings) {
  const std::vector<int>& allowed = survey.host.allowed_cores;
  if (!survey.is_local || allowed.empty()) return;
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    if (!gpu.numa_node || survey.host.host.numa_nodes.empty()) continue;
    // A node whose memory a control group (cpuset.mems) withholds is not even listed.
    const NumaNode* node = node_numbered(survey, *gpu.numa_node);
    const bool near_cores =
        node != nullptr && std::find_first_of(node->cores.begin(), node->cores.end(),
                                              allowed.begin(), allowed.end()) != node->cores.end();
    if (near_cores) continue;
    const std::string number = std::to_string(*gpu.numa_node);
    findings.push_back(
        {"numa-remote",
         Severity::kWarning,
         survey.gpu_label(i),
         node == nullptr ? "This process may not use the memory near the card"
                         : "This process may run only on cores far from the card",
         {"the card is on NUMA node " + number, "allowed cores: " + format_core_list(allowed, ',')},
         node == nullptr ? "Let the control group or container have the card's node: cpuset.cpus "
                           "and cpuset.mems (docker run --cpuset-cpus, --cpuset-mems)."
                         : "Start without taskset or numactl, or bind to the card's node: numactl "
                           "-N " +
                               number + " -m " + number + ".",
         "certain"});
  }
}

// Server modules (SXM) are joined by NVLink on their board, whether or not a source shows it.
bool are_modules(const Survey& survey) {
  return std::all_of(survey.gpus.begin(), survey.gpus.end(),
                     [](const GpuFacts& gpu) { return contains(gpu.name.value_or(""), "SXM"); });
}

// numa-split: cards on several nodes, so that a group of ranks should not cross them in silence.
void find_split(const Survey& survey, std::vector<Finding>& findings) {
  std::map<int, std::string> nodes;
  for (int i = 0; i < num_gpus(survey); ++i)
    if (const auto node = gpu_at(survey, i).numa_node)
      nodes[*node] += (nodes[*node].empty() ? "" : ", ") + survey.gpu_id(i);
  if (nodes.size() < 2) return;
  std::vector<std::string> evidence;
  for (const auto& [node, gpus] : nodes)
    evidence.push_back("node " + std::to_string(node) + ": " + gpus);
  findings.push_back({"numa-split", Severity::kInfo, "machine",
                      "The GPUs hang on " + std::to_string(nodes.size()) + " NUMA nodes", evidence,
                      has_nvlink_pairs(survey) || are_modules(survey)
                          ? "With NVLink between them this matters for loading only."
                          : "Keep a tensor-parallel group within one node and cut stages between "
                            "nodes; Tandem's planner does.",
                      "certain"});
}

// numa-unknown: the firmware of a machine with several nodes does not say where a card hangs.
void find_unknown(const Survey& survey, std::vector<Finding>& findings) {
  if (survey.host.host.numa_nodes.size() < 2) return;
  std::vector<std::string> evidence;
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    const PciDevice* device = gpu.address ? survey.find_pci(*gpu.address) : nullptr;
    if (device != nullptr && device->numa_node == -1)
      evidence.push_back(survey.gpu_label(i) + " at " + gpu.address->to_string() +
                         ": numa_node -1");
  }
  if (evidence.empty()) return;
  findings.push_back({"numa-unknown", Severity::kWarning, "host",
                      "The firmware does not say on which NUMA node the cards hang", evidence,
                      "Update the BIOS, or look for \"NUMA nodes per socket\" and ACPI settings. "
                      "Until then measure both bindings and pin by hand.",
                      "certain"});
}

void find_quota(const Survey& survey, std::vector<Finding>& findings) {
  const Host& host = survey.host.host;
  if (!survey.is_local || !host.cpu_quota || !host.cores || *host.cpu_quota >= *host.cores) return;
  findings.push_back({"cpu-quota",
                      Severity::kInfo,
                      "host",
                      "A control group grants this process " + number_text(*host.cpu_quota) +
                          " CPUs' worth of time on " + std::to_string(*host.cores) + " cores",
                      {"cpu.max of the control group"},
                      "Use no more threads than that: --devices with as many cores, or raise the "
                      "container's CPU limit.",
                      "certain"});
}

}  // namespace

void find_numa(const Survey& survey, std::vector<Finding>& findings) {
  find_remote(survey, findings);
  find_split(survey, findings);
  find_unknown(survey, findings);
  find_quota(survey, findings);
}

}  // namespace tandem
