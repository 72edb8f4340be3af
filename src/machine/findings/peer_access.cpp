#include <algorithm>
#include <set>

#include "machine/assemble.h"
#include "machine/findings/findings.h"
#include "machine/gpu_catalogue.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

// What nvidia-smi topo -p2p means (its legend).
std::string meaning_of(const std::string& status) {
  if (status == "CNS") return "chipset not supported";
  if (status == "GNS") return "GPU not supported";
  if (status == "TNS") return "topology not supported";
  if (status == "NS") return "not supported";
  if (status == "DR") return "disabled by a registry key";
  return "unknown";
}

// Through host memory every byte crosses two links, one after the other where nothing overlaps.
double through_host_gbps(double link_gbps) {
  return link_gbps / 2;
}

std::vector<std::pair<int, int>> pairs_without_access(const Survey& survey) {
  std::vector<std::pair<int, int>> pairs;
  for (int a = 0; a < num_gpus(survey); ++a)
    for (int b = a + 1; b < num_gpus(survey); ++b)
      if (peer_access_between(survey, a, b) == false) pairs.emplace_back(a, b);
  return pairs;
}

bool could_have_access(const GpuFacts& gpu) {
  const GpuModel* model = find_gpu_model(gpu.name.value_or(""), gpu.memory_bytes);
  return model != nullptr && model->peer_over_pcie == true;
}

// peer-access: pairs that copy through host memory.
void find_refused_pairs(const Survey& survey, std::vector<Finding>& findings) {
  const auto pairs = pairs_without_access(survey);
  if (pairs.empty()) return;
  std::vector<std::string> evidence;
  bool unexpected = false;
  for (const auto& [a, b] : pairs) {
    unexpected = unexpected ||
                 (could_have_access(gpu_at(survey, a)) && could_have_access(gpu_at(survey, b)));
    const GpuPair* pair = survey.find_pair(a, b);
    std::string line = survey.gpu_id(a) + " - " + survey.gpu_id(b) + ": ";
    if (pair != nullptr && !pair->peer.empty())
      line += pair->peer.begin()->first + " " + pair->peer.begin()->second + " (" +
              meaning_of(pair->peer.begin()->second) + ")";
    else if (pair != nullptr && pair->can_access == false)
      line += "the driver refuses access";
    else
      line += "the driver grants this model none over PCIe";
    const MachineDevice* first = survey.machine.find_device(survey.gpu_id(a));
    const Link* link = survey.machine.find_link(survey.gpu_id(a), survey.gpu_id(b));
    if (pair != nullptr && pair->measured_without_gbps)
      line += "; measured " + gbps_text(*pair->measured_without_gbps) + " through host memory";
    else if (link != nullptr && link->bandwidth_gbps && first != nullptr)
      line += "; about " + gbps_text(through_host_gbps(*link->bandwidth_gbps)) + " to " +
              gbps_text(*link->bandwidth_gbps) + " through host memory";
    if (evidence.size() < 8) evidence.push_back(line);
  }
  if (pairs.size() > 8)
    evidence.push_back("and " + std::to_string(pairs.size() - 8) + " more pairs");
  const std::string advice =
      unexpected
          ? "These models can copy directly. Look for ACS redirection or IOMMU translation in the "
            "BIOS and on the kernel's command line, and at NVreg settings of the driver."
          : "Normal for GeForce cards: NVIDIA's driver grants them direct copies over NVLink "
            "bridges only. A layer split needs little of it; tensor parallel pays latency at every "
            "layer.";
  findings.push_back({"peer-access", unexpected ? Severity::kWarning : Severity::kInfo, "machine",
                      std::to_string(pairs.size()) +
                          (pairs.size() == 1 ? " pair of GPUs copies" : " pairs of GPUs copy") +
                          " through host memory: no peer access",
                      evidence, advice, "likely"});
}

std::string pair_name(const Survey& survey, const std::pair<int, int>& gpus) {
  return survey.gpu_id(gpus.first) + " - " + survey.gpu_id(gpus.second);
}

// peer-copy-broken, peer-reduction-broken: a step of --load came out wrong, or never came back.
void find_broken_trials(const Survey& survey, std::vector<Finding>& findings) {
  for (const auto& [gpus, pair] : survey.pairs) {
    if (!pair.trial_failure) continue;
    std::vector<std::string> evidence{*pair.trial_failure};
    if (pair.copy_verified) evidence.push_back("copies by the copy engine arrived whole both ways");
    const bool direct = pair.can_access == true;
    findings.push_back(
        {pair.copy_verified ? "peer-reduction-broken" : "peer-copy-broken", Severity::kError,
         pair_name(survey, gpus),
         pair.copy_verified ? "A reduction over these cards gave wrong sums or none"
                            : "A copy between these cards failed",
         evidence,
         direct ? "The driver grants direct access and it does not work: results of models split "
                  "over these cards would be wrong. Switch off ACS and IOMMU translation "
                  "(iommu=pt), undo forced peer access (driver-parameters), or keep programs from "
                  "using it (NCCL_P2P_DISABLE=1)."
                : "Even copies through host memory fail: look for Xid lines in the kernel's log, "
                  "reseat the cards, and test each alone.",
         "certain"});
  }
}

std::string trial_text(const GpuPair& pair) {
  const bool direct = pair.can_access == true;
  const auto gbps = direct ? pair.measured_gbps : pair.measured_without_gbps;
  std::string text = direct ? "direct copies" : "copies through host memory";
  text += " whole both ways";
  if (gbps) text += ", " + gbps_text(*gbps);
  if (pair.sums_verified) return text + "; sums of a reduction right on both";
  return text + "; no reduction tried: " + pair.not_summed;
}

// peer-verified: what --load tried and found right.
void find_right_trials(const Survey& survey, std::vector<Finding>& findings) {
  std::vector<std::string> evidence;
  for (const auto& [gpus, pair] : survey.pairs)
    if (pair.copy_verified && !pair.trial_failure)
      evidence.push_back(pair_name(survey, gpus) + ": " + trial_text(pair));
  if (evidence.empty()) return;
  constexpr std::size_t kMaxLines = 28;  // every pair of eight cards
  const std::size_t count = evidence.size();
  if (count > kMaxLines) {
    evidence.resize(kMaxLines);
    evidence.push_back("and " + std::to_string(count - kMaxLines) + " more");
  }
  findings.push_back({"peer-verified", Severity::kOk, "machine",
                      count == 1 ? "The pair of cards was tried: what it exchanges arrives right"
                                 : std::to_string(count) +
                                       " pairs of cards were tried: what they exchange arrives "
                                       "right",
                      evidence, "", "certain"});
}

// driver-parameters: what was set by hand and changes how cards reach each other.
void find_driver_parameters(const Survey& survey, std::vector<Finding>& findings) {
  const auto value = [&](const char* name) {
    const auto found = survey.host.driver_params.find(name);
    return found == survey.host.driver_params.end() ? std::string() : found->second;
  };
  std::vector<std::string> evidence;
  bool nvlink_off = false;
  bool forced = false;
  if (value("NvLinkDisable") == "1") {
    nvlink_off = true;
    evidence.push_back("NvLinkDisable: 1");
  }
  for (const char* name : {"RegistryDwords", "RegistryDwordsPerDevice"})
    if (contains(value(name), "P2P") || contains(value(name), "PeerMapping")) {
      forced = true;
      evidence.push_back(std::string(name) + ": " + value(name));
    }
  for (const char* name : {"ExcludedGpus", "GpuBlacklist"})
    if (!value(name).empty()) evidence.push_back(std::string(name) + ": " + value(name));
  if (evidence.empty()) return;
  findings.push_back(
      {"driver-parameters", nvlink_off ? Severity::kWarning : Severity::kInfo, "host",
       nvlink_off ? "A parameter of the NVIDIA driver switches NVLink off"
       : forced   ? "Peer access is set by hand in the NVIDIA driver's parameters"
                  : "The NVIDIA driver is told to leave cards out",
       evidence,
       nvlink_off ? "Remove NVreg_NvLinkDisable from /etc/modprobe.d and reload the driver."
       : forced   ? "Forced peer access has been seen to lose or change data: tandem doctor --load "
                    "shows whether it works here."
                  : "Fine if it is meant; else look into /etc/modprobe.d.",
       "certain"});
}

// Is there a pair whose copies ACS or the IOMMU could lead astray? Not where NVLink carries them,
// nor where the driver grants none and would not do so without ACS and IOMMU either.
bool copies_over_pcie(const Survey& survey) {
  if (has_nvlink_pairs(survey)) return false;
  for (int a = 0; a < num_gpus(survey); ++a)
    for (int b = a + 1; b < num_gpus(survey); ++b)
      if (peer_access_between(survey, a, b) != false ||
          (could_have_access(gpu_at(survey, a)) && could_have_access(gpu_at(survey, b))))
        return true;
  return false;
}

// acs-redirect: a bridge sends requests between cards up to the root port and back.
void find_acs(const Survey& survey, std::vector<Finding>& findings) {
  if (!copies_over_pcie(survey)) return;
  std::set<std::string> ports;
  for (int i = 0; i < num_gpus(survey); ++i) {
    if (!gpu_at(survey, i).address) continue;
    for (const PciDevice* device : survey.chain(*gpu_at(survey, i).address))
      if (device->is_bridge() && device->acs_redirect == true)
        ports.insert(device->address.to_string());
  }
  if (ports.empty()) return;
  std::string list;
  for (const std::string& port : ports) list += (list.empty() ? "" : " ") + port;
  findings.push_back({"acs-redirect",
                      Severity::kWarning,
                      "machine",
                      "ACS sends copies between GPUs the long way round, or breaks them",
                      {"ACSCtl ReqRedir+ on " + list},
                      "Without virtual machines, switch ACS off in the BIOS, or per port with "
                      "setpci after each boot (NCCL's guide, \"PCI Access Control Services\").",
                      "certain"});
}

// iommu: what the kernel says of the cards' groups counts; the command line where it does not say.
void find_iommu(const Survey& survey, std::vector<Finding>& findings) {
  if (is_virtual(survey) || !copies_over_pcie(survey)) return;
  std::vector<std::string> evidence;
  bool group_known = false;
  for (int i = 0; i < num_gpus(survey); ++i) {
    const auto& address = gpu_at(survey, i).address;
    const PciDevice* device = address ? survey.find_pci(*address) : nullptr;
    if (device == nullptr || !device->iommu_type) continue;
    group_known = true;
    if (device->iommu_type->starts_with("DMA"))
      evidence.push_back(survey.gpu_label(i) + ": IOMMU group " +
                         std::to_string(device->iommu_group.value_or(-1)) + " of type " +
                         *device->iommu_type);
  }
  if (!group_known && survey.host.iommu_translates == true)
    evidence.push_back("kernel command line: " + survey.host.kernel_command_line.value_or(""));
  if (evidence.empty()) return;
  findings.push_back({"iommu", Severity::kWarning, "host",
                      "The IOMMU translates every copy between devices", evidence,
                      "Add iommu=pt to the kernel's command line: devices then copy directly. "
                      "Wrong data in peer copies has been seen with translation on.",
                      "likely"});
}

// Resizable BAR came to GeForce with the 30 series; data-centre cards map all memory anyway.
bool should_resize(const GpuFacts& gpu) {
  const std::string& name = gpu.name.value_or("");
  for (const char* series : {"RTX 30", "RTX 40", "RTX 50"})
    if (contains(name, series)) return true;
  return false;
}

void find_small_bar(const Survey& survey, std::vector<Finding>& findings) {
  std::vector<std::string> evidence;
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    if (!gpu.bar1_bytes) continue;
    std::int64_t possible = 0;
    if (const PciDevice* device = gpu.address ? survey.find_pci(*gpu.address) : nullptr)
      for (const PciBar& bar : device->bars)
        if (bar.size_bytes == *gpu.bar1_bytes) possible = bar.max_size_bytes;
    const bool small = *gpu.bar1_bytes <= (std::int64_t{256} << 20);
    if (small && (possible > *gpu.bar1_bytes || (should_resize(gpu) && gpu.has_driver != false)))
      evidence.push_back(survey.gpu_label(i) + ": a window of " +
                         std::to_string(*gpu.bar1_bytes >> 20) + " MiB to its memory");
  }
  if (evidence.empty()) return;
  findings.push_back({"rebar-off", Severity::kInfo, "host", "Resizable BAR is off", evidence,
                      "Switch on \"Above 4G decoding\" and \"Resizable BAR\" in the BIOS (and CSM "
                      "off). It lets the host and other cards reach all of a card's memory.",
                      "likely"});
}

}  // namespace

void find_peer_access(const Survey& survey, std::vector<Finding>& findings) {
  find_refused_pairs(survey, findings);
  find_broken_trials(survey, findings);
  find_right_trials(survey, findings);
  find_driver_parameters(survey, findings);
  find_acs(survey, findings);
  find_iommu(survey, findings);
  find_small_bar(survey, findings);
}

}  // namespace tandem
