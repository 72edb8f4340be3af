#pragma once

#include <vector>

#include "machine/finding.h"

namespace tandem {

// One family of findings each: adds what it finds in `survey` to `findings`. A family is silent
// where the facts it needs are unknown.
void find_presence(const Survey& survey, std::vector<Finding>& findings);
void find_link_width(const Survey& survey, std::vector<Finding>& findings);
void find_link_generation(const Survey& survey, std::vector<Finding>& findings);
void find_placement(const Survey& survey, std::vector<Finding>& findings);
void find_pcie_errors(const Survey& survey, std::vector<Finding>& findings);
void find_peer_access(const Survey& survey, std::vector<Finding>& findings);
void find_numa(const Survey& survey, std::vector<Finding>& findings);
void find_nvlink(const Survey& survey, std::vector<Finding>& findings);
void find_power(const Survey& survey, std::vector<Finding>& findings);
void find_thermals(const Survey& survey, std::vector<Finding>& findings);
void find_health(const Survey& survey, std::vector<Finding>& findings);
void find_setup(const Survey& survey, std::vector<Finding>& findings);
void find_sources(const Survey& survey, std::vector<Finding>& findings);
void find_build(const Survey& survey, std::vector<Finding>& findings);

// Helpers that several families share.

std::string link_text(std::optional<int> generation, std::optional<int> width);  // "gen4 x16"
std::string gbps_text(double gbps);                                              // "31.5 GB/s"
std::string number_text(double value);  // at most one decimal: "350", "0.5"
bool is_virtual(const Survey& survey);  // a VM or container: readings cannot be trusted
bool has_nvlink_pairs(const Survey& survey);
const GpuFacts& gpu_at(const Survey& survey, int index);
int num_gpus(const Survey& survey);

// Is this bridge part of the chipset rather than of the CPU?
bool is_chipset_bridge(const PciDevice& device);
// Does some bridge above the GPU belong to the chipset; nullptr if none does or PCI is not known.
const PciDevice* chipset_above(const Survey& survey, int gpu_index);

}  // namespace tandem
