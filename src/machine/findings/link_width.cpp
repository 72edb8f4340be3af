#include <algorithm>

#include "machine/assemble.h"
#include "machine/cpu_catalogue.h"
#include "machine/findings/findings.h"
#include "machine/gpu_catalogue.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

struct Reason {
  std::string text;  // continues "runs at x4 of x16: ..."
  std::string advice;
  std::string confidence;  // "certain", "likely", "possible"
  Severity severity = Severity::kInfo;
  std::vector<std::string> evidence;
};

// The ports that share the CPU's group of lanes with `port`: functions of the same or neighbouring
// device numbers on the same bus, such as 00:01.0 and 00:01.1, with a card below.
std::vector<const PciDevice*> sibling_ports(const Survey& survey, const PciDevice& port) {
  std::vector<const PciDevice*> siblings;
  for (const auto& [address, device] : survey.pci) {
    if (address == port.address || !device.is_bridge()) continue;
    const bool same_bus = address.domain == port.address.domain && address.bus == port.address.bus;
    if (same_bus && address.device == port.address.device) siblings.push_back(&device);
  }
  return siblings;
}

const PciDevice* device_below(const Survey& survey, const PciDevice& port) {
  for (const auto& [address, device] : survey.pci)
    if (device.parent == port.address && address.function == 0) return &device;
  return nullptr;
}

int lanes_of(const PciDevice& port) {
  return port.link.max_width.value_or(port.link.width.value_or(0));
}

// What the board's maker wrote about the slot this card sits in.
const BoardSlot* board_slot(const Survey& survey, const PciDevice* entry, const PciDevice* port) {
  for (const BoardSlot& slot : survey.host.slots) {
    if (!slot.address) continue;
    const bool same_place = entry != nullptr && slot.address->domain == entry->address.domain &&
                            slot.address->bus == entry->address.bus;
    if (same_place || (port != nullptr && slot.address == port->address)) return &slot;
  }
  return nullptr;
}

std::string port_text(const PciDevice& port) {
  return "port " + port.address.to_string() +
         " above it: " + link_text(port.link.max_generation, port.link.max_width) + " at most";
}

// The port could do more than the link reached: contact, riser or cable.
Reason seating(const PciDevice& port, const GpuFacts& gpu, int width) {
  Reason reason;
  reason.text = "card and port can both do x" + std::to_string(lanes_of(port)) +
                ", so the contact, a riser or a cable loses lanes";
  reason.confidence = "likely";
  reason.severity = width <= 4 ? Severity::kError : Severity::kWarning;
  reason.evidence.push_back(port_text(port));
  const bool errors = port.aer.correctable.value_or(0) > 0 || gpu.replays.value_or(0) > 0;
  if (errors)
    reason.evidence.push_back(
        "errors on this link: " + std::to_string(port.aer.correctable.value_or(0)) +
        " correctable at the port, " + std::to_string(gpu.replays.value_or(0)) + " replays");
  reason.advice =
      "Switch off, reseat the card and clean its contacts; then try it without the riser, and in "
      "another slot. A BIOS set to bifurcate the slot, or an M.2 drive in a slot that shares its "
      "lanes, has the same effect.";
  return reason;
}

// What to do about lanes that are split: a CPU with lanes enough for all cards has them elsewhere.
std::string advice_on_split(const Survey& survey, int width) {
  if (width >= 8)
    return "Nothing to repair: x8 costs little with a layer split; only tensor parallel over PCIe "
           "feels it.";
  const auto& cpu = survey.host.host.cpu;
  const CpuFamily* family = cpu ? find_cpu_family(*cpu) : nullptr;
  const std::string effect = "x" + std::to_string(width) +
                             " a card slows tensor parallel and "
                             "loading. ";
  if (family != nullptr && family->graphics_lanes >= 8 * num_gpus(survey))
    return effect + "This CPU has " + std::to_string(family->lanes) +
           " lanes: spread the cards over more slots, or split a slot in two (x8x8) rather than "
           "in four. Until then use a layer split.";
  return effect +
         "Use a layer split, or a CPU with more lanes (Threadripper, EPYC, Xeon) and x8 or "
         "x16 a card.";
}

Reason bifurcated(const Survey& survey, const PciDevice& port,
                  const std::vector<const PciDevice*>& siblings, int width, int card_width) {
  Reason reason;
  std::string others;
  bool shares_with_drive = false;
  bool shares_with_gpu = false;
  for (const PciDevice* sibling : siblings) {
    const PciDevice* below = device_below(survey, *sibling);
    shares_with_drive = shares_with_drive || (below != nullptr && below->class_code == 0x0108);
    shares_with_gpu = shares_with_gpu || (below != nullptr && below->is_display());
    reason.evidence.push_back(
        "port " + sibling->address.to_string() +
        " beside it: " + link_text(sibling->link.max_generation, sibling->link.max_width) +
        (below == nullptr
             ? ", nothing below"
             : ", below it " + (below->name.empty() ? below->address.to_string() : below->name)));
  }
  reason.evidence.insert(reason.evidence.begin(), port_text(port));
  reason.confidence = "likely";
  if (shares_with_drive && !shares_with_gpu) {
    reason.text = "the slot shares its lanes with an M.2 drive";
    reason.advice =
        "Move the drive to an M.2 socket that does not share lanes with this slot (see the board's "
        "manual).";
    reason.severity = width < card_width / 2 ? Severity::kWarning : Severity::kInfo;
    return reason;
  }
  reason.text =
      "the CPU's lanes are bifurcated among " + std::to_string(siblings.size() + 1) + " ports";
  reason.advice = advice_on_split(survey, width);
  reason.severity = width >= 8 ? Severity::kInfo : Severity::kWarning;
  return reason;
}

Reason wired_narrower(const PciDevice& port, const BoardSlot* slot, bool chipset, int width) {
  Reason reason;
  reason.text = "the slot is wired with x" + std::to_string(width) + " only" +
                (chipset ? " and hangs on the chipset" : "");
  reason.confidence = slot != nullptr && slot->width == width ? "certain" : "likely";
  reason.severity = width >= 8 ? Severity::kInfo : Severity::kWarning;
  reason.evidence.push_back(port_text(port));
  if (slot != nullptr && slot->width)
    reason.evidence.push_back("the board calls this slot " + slot->name + ": x" +
                              std::to_string(*slot->width));
  reason.advice =
      "Move the card to a slot that is wired to the CPU with more lanes, if the board has one; the "
      "board's manual lists electrical widths. Until then prefer a layer split to tensor parallel.";
  return reason;
}

// Two cards that a driver reports at half width each, on neighbouring buses, with no PCI list to
// look at: the usual desktop split.
bool looks_split(const Survey& survey, int width) {
  const auto same = std::count_if(survey.gpus.begin(), survey.gpus.end(), [&](const GpuFacts& gpu) {
    return gpu.link.width == width && gpu.link.max_width == 16;
  });
  return width == 8 && same >= 2;
}

Reason from_driver_alone(const Survey& survey, int width) {
  Reason reason;
  reason.confidence = "possible";
  reason.severity = width >= 8 ? Severity::kInfo : Severity::kWarning;
  if (is_virtual(survey)) {
    reason.text = "inside a virtual machine the width may not be the real one";
    reason.severity = Severity::kInfo;
    reason.advice = "Ask the provider, or measure: tandem doctor --load.";
  } else if (looks_split(survey, width)) {
    reason.text = "two cards with x8 each look like a desktop CPU's 16 lanes split in two";
    reason.confidence = "likely";
    reason.advice =
        "Nothing to repair on such a board. lspci -vvv beside this recording would make it "
        "certain.";
  } else {
    reason.text = "the driver's report alone does not tell why";
    reason.advice =
        "Record lspci -vvv (as root) too: the port above the card tells whether the slot is wired "
        "narrower or the contact is bad.";
  }
  return reason;
}

Reason explain(const Survey& survey, int index, int width, int card_width) {
  const GpuFacts& gpu = gpu_at(survey, index);
  const PciDevice* entry = card_entry(survey, index);
  const PciDevice* port = port_above(survey, index);
  if (port == nullptr || lanes_of(*port) == 0) return from_driver_alone(survey, width);
  const auto siblings = sibling_ports(survey, *port);
  std::vector<const PciDevice*> used;
  for (const PciDevice* sibling : siblings)
    if (device_below(survey, *sibling) != nullptr) used.push_back(sibling);
  if (lanes_of(*port) > width) {
    // Some root ports keep claiming x16 after their lanes were given to a sibling.
    int taken = width;
    for (const PciDevice* sibling : used) taken += sibling->link.width.value_or(0);
    if (!used.empty() && taken <= lanes_of(*port))
      return bifurcated(survey, *port, used, width, card_width);
    return seating(*port, gpu, width);
  }
  const bool chipset = chipset_above(survey, index) != nullptr;
  if (!used.empty() && !chipset) return bifurcated(survey, *port, used, width, card_width);
  return wired_narrower(*port, board_slot(survey, entry, port), chipset, width);
}

}  // namespace

// pcie-width: the link has fewer lanes than the card, and why.
void find_link_width(const Survey& survey, std::vector<Finding>& findings) {
  if (survey.is_planned) return;  // find_build judges slots that do not exist yet
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    const GpuModel* model = find_gpu_model(gpu.name.value_or(""), gpu.memory_bytes);
    const auto most = gpu.link.max_width ? gpu.link.max_width
                      : model != nullptr ? model->pcie_width
                                         : std::nullopt;
    if (!gpu.link.width || !most || *gpu.link.width >= *most) continue;
    const int width = *gpu.link.width;
    Reason reason = explain(survey, i, width, *most);
    const int generation = gpu.link.max_generation.value_or(gpu.link.generation.value_or(1));
    // A narrow but fast link carries as much as a wide old one.
    if (reason.severity == Severity::kWarning && pcie_gbps(generation, width) >= 12)
      reason.severity = Severity::kInfo;
    std::vector<std::string> evidence{
        "link now x" + std::to_string(width) + ", card x" + std::to_string(*most) + ": " +
        gbps_text(pcie_gbps(generation, width)) + " of " + gbps_text(pcie_gbps(generation, *most)) +
        " each way at gen" + std::to_string(generation)};
    evidence.insert(evidence.end(), reason.evidence.begin(), reason.evidence.end());
    findings.push_back({"pcie-width", reason.severity, survey.gpu_label(i),
                        "Link runs at x" + std::to_string(width) + " of x" + std::to_string(*most) +
                            ": " + reason.text,
                        evidence, reason.advice, reason.confidence});
  }
}

}  // namespace tandem
