#pragma once

#include "base/result.h"
#include "machine/survey.h"

namespace tandem {

// Joins what the sources said: gives GPUs that only PCI sources know a place, connects bridges,
// fills GPU links from both ends, and makes Survey::machine. Error: PCI and driver name wholly
// different GPUs, so that the recordings are of two machines.
Status assemble_machine(Survey& survey);

// What lies between two GPUs, by the driver's word, else by the PCI tree, else by NUMA nodes.
LinkKind link_kind_between(const Survey& survey, int a, int b);

// May one GPU read the other's memory, by all that is known; nullopt where nothing tells.
std::optional<bool> peer_access_between(const Survey& survey, int a, int b);

// The function whose link is the way into the card: the GPU itself, or the upper end of the switch
// that AMD and Intel put on their cards. nullptr where PCI is not known.
const PciDevice* card_entry(const Survey& survey, int gpu_index);

// The port above the card: root port or switch port. nullptr where it is not known.
const PciDevice* port_above(const Survey& survey, int gpu_index);

}  // namespace tandem
