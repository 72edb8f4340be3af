#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "machine/machine.h"

namespace tandem {

// A message between two ranks on these devices, measured by the way that ranks of a plan would use.
struct MeasuredLink {
  std::string a;
  std::string b;
  std::string transport;      // "memory" that cores share; "peer" access of GPUs, or "host"
  double latency_us = 0;      // of 64 bytes, one way
  double bandwidth_gbps = 0;  // of 4 MiB, one way
  double all_reduce_us = 0;   // of one token's hidden state over both
};

// A transport for people: "through memory of the host".
std::string_view words_for_transport(std::string_view transport);

// hidden_size: floats of the reduced message. Blocks for some tenths of a second. Errors: of
// devices, and of ways between them that fail.
Result<MeasuredLink> measure_link(const MachineDevice& a, const MachineDevice& b,
                                  std::int64_t hidden_size);

}  // namespace tandem
