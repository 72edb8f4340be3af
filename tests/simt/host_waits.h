#pragma once

#include <cstdint>

namespace simt {

// What a GPU costs the host, for tests. Thread-safe.
struct HostCosts {
  std::int64_t allocations = 0;  // of page-locked memory, while the device was current
  // Calls for which a host thread had to wait until the device had done something.
  std::int64_t waits = 0;
  // How often cudaStreamQuery() found that a stream had nothing left to do.
  std::int64_t idle_answers = 0;
};
HostCosts host_costs(int device);

}  // namespace simt
