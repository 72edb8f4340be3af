#include <algorithm>

#include "machine/assemble.h"
#include "machine/findings/findings.h"
#include "machine/gpu_catalogue.h"

namespace tandem {
namespace {

// A limit someone set (firmware's "Gen3", a riser's setting): the link could do more.
void find_set_limit(const Survey& survey, int index, std::vector<Finding>& findings) {
  const PciDevice* port = port_above(survey, index);
  const PciDevice* entry = card_entry(survey, index);
  if (port == nullptr || !port->target_generation || !port->link.max_generation ||
      !entry->link.max_generation)
    return;
  const int possible = std::min(*port->link.max_generation, *entry->link.max_generation);
  if (*port->target_generation >= possible) return;
  findings.push_back({"pcie-generation-limited",
                      Severity::kWarning,
                      survey.gpu_label(index),
                      "Firmware holds the link at gen" + std::to_string(*port->target_generation) +
                          " though card and port can do gen" + std::to_string(possible),
                      {"port " + port->address.to_string() + ": target gen" +
                           std::to_string(*port->target_generation) + ", capable of gen" +
                           std::to_string(*port->link.max_generation),
                       "card: gen" + std::to_string(*entry->link.max_generation)},
                      "Set the slot's speed to Auto in the BIOS. If it was lowered because the "
                      "machine hung, a riser that is not made for this speed is the likely cause.",
                      "certain"});
}

// Card and slot of different generations: a fact of the machine, seldom a fault.
void find_platform_limit(const Survey& survey, int index, std::vector<Finding>& findings) {
  const GpuFacts& gpu = gpu_at(survey, index);
  if (!gpu.card_generation || !gpu.slot_generation || *gpu.slot_generation >= *gpu.card_generation)
    return;
  const bool virtual_slot = is_virtual(survey);
  const int lanes = gpu.link.width.value_or(gpu.link.max_width.value_or(16));
  const bool very_old = *gpu.slot_generation <= 2 && *gpu.card_generation >= 4 && !virtual_slot;
  findings.push_back({"pcie-generation",
                      very_old ? Severity::kWarning : Severity::kInfo,
                      survey.gpu_label(index),
                      "The slot does gen" + std::to_string(*gpu.slot_generation) +
                          ", the card could do gen" + std::to_string(*gpu.card_generation),
                      {gbps_text(pcie_gbps(*gpu.slot_generation, lanes)) + " instead of " +
                       gbps_text(pcie_gbps(*gpu.card_generation, lanes)) + " each way at x" +
                       std::to_string(lanes)},
                      "Nothing to repair: the platform sets this limit. Copies between cards and "
                      "loading take longer in proportion; computing does not.",
                      virtual_slot ? "possible" : "certain"});
}

// Busy, and yet below what both ends agreed they can do.
void find_slow_under_load(const Survey& survey, int index, std::vector<Finding>& findings) {
  const GpuFacts& gpu = gpu_at(survey, index);
  if (!gpu.link.generation || !gpu.link.max_generation ||
      *gpu.link.generation >= *gpu.link.max_generation)
    return;
  // Only a card known to be at work can be called slow; an idle link trains down to save power.
  if (gpu.is_idle() != std::optional(false)) return;
  if (!gpu.under_load && gpu.performance_state && *gpu.performance_state > 3) return;
  findings.push_back({"pcie-generation-low",
                      Severity::kWarning,
                      survey.gpu_label(index),
                      "Link stays at gen" + std::to_string(*gpu.link.generation) + " of gen" +
                          std::to_string(*gpu.link.max_generation) + " while the card works",
                      {"now " + link_text(gpu.link.generation, gpu.link.width) + ", at most " +
                           link_text(gpu.link.max_generation, gpu.link.max_width),
                       "utilisation " + number_text(gpu.utilisation_percent.value_or(0)) +
                           " %, state P" + std::to_string(gpu.performance_state.value_or(0))},
                      "Signal quality is the usual cause: reseat the card, leave out the riser, "
                      "look at pcie-errors. Then check the slot's speed in the BIOS.",
                      "likely"});
}

}  // namespace

// pcie-generation, pcie-generation-limited, pcie-generation-low. An idle link is never a fault.
void find_link_generation(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i) {
    find_set_limit(survey, i, findings);
    find_platform_limit(survey, i, findings);
    find_slow_under_load(survey, i, findings);
  }
}

}  // namespace tandem
