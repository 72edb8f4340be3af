#include <algorithm>
#include <map>

#include "machine/assemble.h"
#include "machine/cpu_catalogue.h"
#include "machine/findings/findings.h"

namespace tandem {
namespace {

void find_chipset(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i) {
    const PciDevice* bridge = chipset_above(survey, i);
    if (bridge == nullptr) continue;
    const GpuFacts& gpu = gpu_at(survey, i);
    findings.push_back({"behind-chipset",
                        num_gpus(survey) > 1 ? Severity::kWarning : Severity::kInfo,
                        survey.gpu_label(i),
                        "This card hangs on the chipset, not on the CPU",
                        {"above it: " + bridge->address.to_string() +
                             (bridge->name.empty() ? "" : " " + bridge->name),
                         "link " + link_text(gpu.link.max_generation, gpu.link.width)},
                        "It shares the chipset's uplink (4 to 8 lanes) with drives, USB and "
                        "network, and copies to other cards cross it. Use a slot wired to the CPU "
                        "if one is free; else give this card the smaller share and a layer split.",
                        "certain"});
  }
}

// The first bridge, seen from the cards, that leads to more than one of them.
void find_shared_uplinks(const Survey& survey, std::vector<Finding>& findings) {
  std::map<PciAddress, std::vector<int>> below;
  bool redirected = false;  // a switch sends copies between its ports up to the root
  for (int i = 0; i < num_gpus(survey); ++i) {
    if (!gpu_at(survey, i).address) continue;
    const auto chain = survey.chain(*gpu_at(survey, i).address);
    const PciDevice* entry = card_entry(survey, i);
    bool inside_card = true;
    for (const PciDevice* device : chain) {
      if (!inside_card && device->is_bridge()) below[device->address].push_back(i);
      redirected = redirected || (device->parent && device->acs_redirect == true);
      if (device == entry) inside_card = false;
    }
  }
  std::map<std::vector<int>, const PciDevice*> groups;  // the uppermost bridge of each group
  for (const auto& [address, gpus] : below) {
    if (gpus.size() < 2) continue;
    const PciDevice* device = survey.find_pci(address);
    auto& top = groups[gpus];
    if (top == nullptr || !device->parent) top = device;
  }
  std::vector<std::string> evidence;
  bool narrow = false;
  for (const auto& [gpus, device] : groups) {
    const auto width = device->link.width ? device->link.width : device->link.max_width;
    const auto generation =
        device->link.max_generation ? device->link.max_generation : device->link.generation;
    std::string names;
    for (int gpu : gpus) names += (names.empty() ? "" : ", ") + survey.gpu_id(gpu);
    narrow = narrow || (width && *width < 16 && !is_chipset_bridge(*device));
    const std::string speed = width || generation ? link_text(generation, width)
                              : device->link_gbps ? gbps_text(*device->link_gbps)
                                                  : "speed not known";
    if (evidence.size() < 12)
      evidence.push_back("uplink " + device->address.to_string() + ", " + speed + ": " + names);
  }
  if (evidence.empty()) return;
  const bool hurts = narrow && !has_nvlink_pairs(survey);
  findings.push_back(
      {"shared-uplink", hurts ? Severity::kWarning : Severity::kInfo, "machine",
       "Several cards share one link to the CPU through a PCIe switch", evidence,
       std::string(redirected ? "ACS sends copies between these cards up to the CPU (see "
                                "acs-redirect); without it they stay"
                              : "Copies between these cards stay") +
           " below the switch and are fast. Loading all of them from the host at once shares the "
           "link. Put ranks that talk most to each other on such a group.",
       "certain"});
}

// Lanes that the cards want against those the CPU has.
void find_lanes(const Survey& survey, std::vector<Finding>& findings) {
  if (!survey.host.host.cpu || num_gpus(survey) < 2 || is_virtual(survey)) return;
  const CpuFamily* family = find_cpu_family(*survey.host.host.cpu);
  if (family == nullptr) return;
  const int sockets = survey.host.host.sockets.value_or(1);
  const int lanes =
      sockets > 1 && family->lanes_two_sockets > 0 ? family->lanes_two_sockets : family->lanes;
  int wanted = 0;
  int cards = 0;
  bool some_narrow = false;  // where every card has all its lanes, the sum is of no interest
  for (int i = 0; i < num_gpus(survey); ++i) {
    const PcieLink& link = gpu_at(survey, i).link;
    some_narrow = some_narrow || (link.width && *link.width < link.max_width.value_or(16));
    if (chipset_above(survey, i) != nullptr) continue;
    const auto kind = port_above(survey, i);
    if (kind != nullptr && kind->port == PciPort::kDownstream) return;  // switches multiply lanes
    wanted += gpu_at(survey, i).link.max_width.value_or(16);
    ++cards;
  }
  if (cards < 2 || wanted <= lanes || !some_narrow) return;
  const int each = family->graphics_lanes / cards;
  const int usual = each >= 16 ? 16 : each >= 8 ? 8 : 4;
  findings.push_back(
      {"lanes",
       Severity::kInfo,
       "host",
       std::to_string(cards) + " cards want " + std::to_string(wanted) + " lanes, the CPU has " +
           std::to_string(lanes),
       {*survey.host.host.cpu + ": " + family->family + ", " + std::to_string(family->lanes) +
            " lanes of gen" + std::to_string(family->generation) + ", " +
            std::to_string(family->graphics_lanes) + " of them for the long slots",
        "source: " + family->source},
       "The best this CPU can do is x" + std::to_string(usual) +
           " a card. x16 for each needs Threadripper, EPYC or Xeon.",
       "certain"});
}

}  // namespace

// behind-chipset, shared-uplink, lanes.
void find_placement(const Survey& survey, std::vector<Finding>& findings) {
  find_chipset(survey, findings);
  find_shared_uplinks(survey, findings);
  find_lanes(survey, findings);
}

}  // namespace tandem
