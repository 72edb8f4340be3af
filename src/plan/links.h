#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "machine/machine.h"

namespace tandem {

// A way between two devices, from data/links.json.
struct LinkSpec {
  std::string name;           // "pcie4x16"
  double bandwidth_gbps = 0;  // achieved in one direction
  double latency_us = 0;
  std::string source;
};

const std::vector<LinkSpec>& link_specs();

// By name, case ignored. kNotFound lists the names that are known.
Result<const LinkSpec*> find_link_spec(std::string_view name);

// "pcie4x8" of generation 4 and 8 lanes; the nearest that is known.
const LinkSpec& pcie_link(int generation, int width);

// How data go between two devices: what the machine says, else what their slots give. GPUs without
// peer access are staged through the host's memory.
struct Wire {
  double bandwidth_gbps = 0;
  double latency_us = 0;
  bool peer = false;
  bool nvlink = false;
};
Wire wire_between(const Machine& machine, const MachineDevice& a, const MachineDevice& b);

// Seconds of an all-reduce of `bytes` over `group_size` ranks on that wire, without software cost:
// the cheapest of one-shot (every rank reads all others' copies: 1 step, (P-1) n bytes), two-shot
// (reduce-scatter and all-gather by direct reads: 2 steps, 2 (P-1)/P n), ring (2 (P-1) steps,
// 2 (P-1)/P n) and tree (2 log2 P steps, each n). Source: Thakur, Rabenseifner, Gropp,
// "Optimization of Collective Communication Operations in MPICH", 2005; one- and two-shot as in
// TensorRT-LLM's and vLLM's custom all-reduce. Without peer access only ring and tree exist (NCCL).
struct AllReduceTime {
  double latency_s = 0;
  double bandwidth_s = 0;
  double total_s() const { return latency_s + bandwidth_s; }
};
AllReduceTime all_reduce_time(const Wire& wire, int group_size, double bytes);

}  // namespace tandem
