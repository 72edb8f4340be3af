#include "machine/cgroup_limits.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

namespace tandem {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<std::int64_t> whole_number(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || status != std::errc()) return std::nullopt;
  return value;
}

template <typename T>
void lower(std::optional<T>& limit, T value) {
  limit = limit ? std::min(*limit, value) : value;
}

// v1 writes "no limit" as the largest multiple of the page size, far above any real memory.
constexpr std::int64_t kNoLimitBytes = std::int64_t{1} << 60;

void read_memory(const fs::path& file, CgroupLimits& limits) {
  const auto bytes = whole_number(first_line(file));
  if (bytes && *bytes > 0 && *bytes < kNoLimitBytes) lower(limits.memory_bytes, *bytes);
}

void read_v2(const fs::path& group, CgroupLimits& limits) {
  read_memory(group / "memory.max", limits);
  std::istringstream line(first_line(group / "cpu.max"));  // "max 100000" or "150000 100000"
  double quota_us = 0;
  double period_us = 0;
  if (line >> quota_us >> period_us && quota_us > 0 && period_us > 0)
    lower(limits.cpus, quota_us / period_us);
}

void read_v1_cpu(const fs::path& group, CgroupLimits& limits) {
  const auto quota_us = whole_number(first_line(group / "cpu.cfs_quota_us"));
  const auto period_us = whole_number(first_line(group / "cpu.cfs_period_us"));
  if (quota_us && *quota_us > 0 && period_us && *period_us > 0)
    lower(limits.cpus, static_cast<double>(*quota_us) / static_cast<double>(*period_us));
}

// Calls `read` for the group and each one above it. Inside a container the path may name a group
// of the host that is not mounted here; then only those that exist are read.
template <typename Read>
void for_each_ancestor(const fs::path& mount, fs::path group, Read read) {
  constexpr int kMaxDepth = 64;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    read(mount / group.relative_path());
    if (!group.has_relative_path()) return;
    group = group.parent_path();
  }
}

}  // namespace

CgroupLimits read_cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  const fs::path mount = root / "sys/fs/cgroup";
  std::ifstream groups(root / "proc/self/cgroup");
  std::string line;  // "0::/user.slice" (v2) or "4:memory:/docker/..." (v1)
  while (std::getline(groups, line)) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,")
      for_each_ancestor(mount, group, [&](const fs::path& path) { read_v2(path, limits); });
    if (controllers.find(",memory,") != std::string::npos)
      for_each_ancestor(mount / "memory", group, [&](const fs::path& path) {
        read_memory(path / "memory.limit_in_bytes", limits);
      });
    if (controllers.find(",cpu,") != std::string::npos)
      for_each_ancestor(mount / "cpu", group,
                        [&](const fs::path& path) { read_v1_cpu(path, limits); });
  }
  return limits;
}

}  // namespace tandem
