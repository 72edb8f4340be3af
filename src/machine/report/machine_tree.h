#pragma once

#include <string>
#include <vector>

#include "machine/finding.h"
#include "machine/survey.h"

namespace tandem {

// One box of the drawn machine.
struct TreeNode {
  enum class Kind { kHost, kNuma, kPort, kSwitch, kChipset, kGpu, kCpu };
  Kind kind = Kind::kHost;
  std::string label;  // "cuda:0 RTX 3090, 24.0 GiB"
  std::string link;   // of the link above it: "gen4 x16 (now gen1 x16, idle)"; may be empty
  Severity severity = Severity::kOk;  // the gravest finding about it
  std::vector<TreeNode> children;
};

// CPU -> NUMA node -> root port -> switch -> GPU; only bridges that lead to a GPU.
TreeNode machine_tree(const Survey& survey, const std::vector<Finding>& findings);

// What lies between each pair of GPUs, in nvidia-smi's words where it gave them, and whether they
// may copy directly. Rows of cells, the header first; empty for fewer than two GPUs and where
// nothing is known.
std::vector<std::vector<std::string>> pair_matrix(const Survey& survey);

// What the cells mean, one line.
std::string pair_legend();

// How data is predicted to travel between cards and at what speed, a line for every kind of way:
// "NVLink, 56.2 GB/s each way: 0-1 2-3". Pairs of which no source tells are left out.
std::vector<std::string> transport_lines(const Survey& survey);

}  // namespace tandem
