#include <algorithm>
#include <set>

#include "machine/findings/findings.h"
#include "machine/gpu_catalogue.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

int active_links(const GpuFacts& gpu) {
  if (!gpu.nvlinks) return 0;
  return static_cast<int>(std::count_if(gpu.nvlinks->begin(), gpu.nvlinks->end(),
                                        [](const NvLinkState& link) { return link.active; }));
}

// nvlink-inactive: some links of a card are up and others are not.
void find_inactive(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    const int active = active_links(gpu);
    if (!gpu.nvlinks || active == 0 || active == static_cast<int>(gpu.nvlinks->size())) continue;
    std::string down;
    for (const NvLinkState& link : *gpu.nvlinks)
      if (!link.active) down += (down.empty() ? "" : ", ") + std::to_string(link.link);
    findings.push_back(
        {"nvlink-inactive",
         Severity::kWarning,
         survey.gpu_label(i),
         std::to_string(gpu.nvlinks->size() - static_cast<std::size_t>(active)) + " of " +
             std::to_string(gpu.nvlinks->size()) + " NVLinks are inactive",
         {"inactive: link " + down},
         "Reseat the bridge; on a server look at the fabric manager and at Xid 74 in the kernel's "
         "log. On a board with a bridge of fewer links than the card this is normal.",
         "likely"});
  }
}

// nvlink-asymmetric: cards of one model with different numbers of links, or pairs bonded unequally.
void find_asymmetric(const Survey& survey, std::vector<Finding>& findings) {
  std::set<int> counts;
  std::vector<std::string> evidence;
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    if (!gpu.nvlinks || gpu.name != gpu_at(survey, 0).name) continue;
    counts.insert(active_links(gpu));
    evidence.push_back(survey.gpu_label(i) + ": " + std::to_string(active_links(gpu)) +
                       " active links");
  }
  // Three cards of which two are bridged differ rightly: only unequal working links are odd.
  counts.erase(0);
  if (counts.size() < 2) return;
  findings.push_back(
      {"nvlink-asymmetric", Severity::kWarning, "machine",
       "Cards of one model have different numbers of active NVLinks", evidence,
       "The card with the fewest sets the pace of every reduction. Reseat its bridge or module.",
       "likely"});
}

// nvlink-bridge: two or more cards that could be bridged and are not.
void find_missing_bridge(const Survey& survey, std::vector<Finding>& findings) {
  if (num_gpus(survey) < 2 || has_nvlink_pairs(survey)) return;
  std::vector<std::string> evidence;
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    const GpuModel* model = find_gpu_model(gpu.name.value_or(""), gpu.memory_bytes);
    const bool known_without =
        (gpu.nvlinks && active_links(gpu) == 0) ||
        std::any_of(survey.pairs.begin(), survey.pairs.end(),
                    [](const auto& item) { return item.second.topology.has_value(); });
    // Modules (SXM) are linked by their board, not by a bridge.
    const bool bridgeable =
        model != nullptr && model->nvlink_gbps.value_or(0) > 0 && model->slots.has_value();
    if (bridgeable && known_without)
      evidence.push_back(survey.gpu_label(i) + ": could be bridged, " +
                         gbps_text(*model->nvlink_gbps) + " both ways together");
  }
  if (evidence.size() < 2) return;
  findings.push_back({"nvlink-bridge", Severity::kInfo, "machine",
                      "These cards could be joined by an NVLink bridge", evidence,
                      "A bridge makes tensor parallel on two cards markedly faster and grants them "
                      "peer access. It needs cards whose connectors line up.",
                      "certain"});
}

// nvlink-fabric: the switches between server modules are not ready, or say they are ill.
void find_fabric(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    std::vector<std::string> evidence = gpu.fabric_faults;
    const std::string state = gpu.fabric_state.value_or("Completed");
    const bool ready = state == "Completed" || state == "Not Supported";
    if (!ready) evidence.insert(evidence.begin(), "fabric state: " + state);
    if (gpu.fabric_status && *gpu.fabric_status != "Success" &&
        !contains(*gpu.fabric_status, "Not Supported"))
      evidence.push_back("fabric status: " + *gpu.fabric_status);
    if (evidence.empty()) continue;
    findings.push_back(
        {"nvlink-fabric", Severity::kError, survey.gpu_label(i),
         ready ? "The NVLink fabric reports a fault" : "The NVLink fabric is not ready", evidence,
         ready
             ? "Look at the fabric manager's log and at nvidia-smi nvlink -e for the link or "
               "switch "
               "that fails; move work off this card until then: its reductions are slow or fail."
             : "Start nvidia-fabricmanager in the driver's exact version and look at its log; CUDA "
               "fails with error 802 until the fabric is ready.",
         "certain"});
  }
}

}  // namespace

void find_nvlink(const Survey& survey, std::vector<Finding>& findings) {
  find_inactive(survey, findings);
  find_asymmetric(survey, findings);
  find_missing_bridge(survey, findings);
  find_fabric(survey, findings);
}

}  // namespace tandem
