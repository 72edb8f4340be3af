#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace tandem {

// What the control groups of this process grant it; nullopt where nothing limits it.
struct CgroupLimits {
  std::optional<std::int64_t> memory_bytes;
  std::optional<double> cpus;  // CPUs' worth of time
};

// Reads <root>/proc/self/cgroup and the limits of that group and of every group above it, the
// smallest of which counts. Understands cgroup v2 and the v1 memory and cpu controllers. What
// cannot be read limits nothing.
CgroupLimits read_cgroup_limits(const std::filesystem::path& root = "/");

}  // namespace tandem
