#include "machine/sources/bandwidth_logs.h"

#include <functional>

#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::int64_t kMaxGpus = 64;

// Reads the rows of a matrix whose header line precedes them: calls `cell(row, column, value)`.
// Returns the number of lines it took.
std::size_t read_matrix(const std::vector<std::string_view>& lines, std::size_t at,
                        const std::function<void(int, int, double)>& cell) {
  std::size_t taken = 0;
  for (; at + taken < lines.size(); ++taken) {
    const auto words = split_words(lines[at + taken]);
    const auto row = words.size() < 2 ? std::nullopt : leading_int(words[0]);
    if (!row || *row < 0 || *row >= kMaxGpus) break;
    for (std::size_t i = 1; i < words.size() && i <= kMaxGpus; ++i)
      if (const auto value = leading_number(words[i]))
        cell(static_cast<int>(*row), static_cast<int>(i) - 1, *value);
  }
  return taken;
}

// A link is as fast as its slower direction.
void keep_lower(std::optional<double>& slot, double value) {
  if (value > 0 && (!slot || value < *slot)) slot = value;
}

}  // namespace

Status read_p2p_test(std::string_view text, SurveyWriter& writer) {
  const auto lines = split_lines(text);
  bool any = false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i];
    if (line.starts_with("Device: ")) {
      const auto index = leading_int(line.substr(8));
      const auto name = between(line, ", ", ", pciBusID");
      GpuFacts* gpu =
          index && *index < kMaxGpus ? writer.gpu_numbered(static_cast<int>(*index)) : nullptr;
      if (gpu == nullptr || !name) continue;
      any = true;
      gpu->has_driver = true;
      if (!gpu->name) gpu->name = std::string(*name);
    }
    if (line.starts_with("Device=") && contains(line, "Access Peer Device=")) {
      const auto a = leading_int(line.substr(7));
      const auto b = leading_int(*between(line, "Peer Device=", ""));
      if (a && b && *a != *b && *a >= 0 && *b >= 0 && *a < kMaxGpus && *b < kMaxGpus)
        writer.survey().pair(static_cast<int>(*a), static_cast<int>(*b)).can_access =
            contains(line, "CAN Access") && !contains(line, "CANNOT");
    }
    const bool one_way = line.starts_with("Unidirectional P2P=");
    const bool latency = line.starts_with("P2P=") && contains(line, "Latency");
    if (!one_way && !latency) continue;
    const bool with = contains(line, "P2P=Enabled");
    read_matrix(lines, i + 2, [&](int a, int b, double value) {
      if (a == b) return;
      GpuPair& pair = writer.survey().pair(a, b);
      if (one_way) keep_lower(with ? pair.measured_gbps : pair.measured_without_gbps, value);
      if (latency && with && !pair.measured_latency_us) pair.measured_latency_us = value;
    });
  }
  if (!any) return malformed(writer.source(), "no device in this log");
  return {};
}

Status read_nvbandwidth(std::string_view text, SurveyWriter& writer) {
  const auto lines = split_lines(text);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].starts_with("Device ") && contains(lines[i], ": ")) {
      const auto index = leading_int(lines[i].substr(7));
      GpuFacts* gpu =
          index && *index < kMaxGpus ? writer.gpu_numbered(static_cast<int>(*index)) : nullptr;
      if (gpu != nullptr && !gpu->name)
        gpu->name = std::string(trim(*between(lines[i], ": ", " (")));
      if (gpu != nullptr) gpu->has_driver = true;
    }
    const bool one_way = contains(lines[i], "device_to_device_memcpy_write_ce") ||
                         contains(lines[i], "device_to_device_memcpy_read_ce");
    if (!one_way || !lines[i].starts_with("Running")) continue;
    read_matrix(lines, i + 3, [&](int a, int b, double value) {
      if (a == b || writer.gpu_numbered(std::max(a, b)) == nullptr) return;
      keep_lower(writer.survey().pair(a, b).measured_gbps, value);
    });
  }
  return {};
}

Status read_nccl_test(std::string_view text, SurveyWriter& writer) {
  bool any = false;
  for (std::string_view line : split_lines(text)) {
    // "#   Rank  0 Pid 112424 on localhost device  0 [0x00] A100-SXM4-40GB"
    if (!line.starts_with("#") || !contains(line, "Rank") || !contains(line, " device ")) continue;
    const auto index = leading_int(*between(line, " device ", "["));
    GpuFacts* gpu =
        index && *index < kMaxGpus ? writer.gpu_numbered(static_cast<int>(*index)) : nullptr;
    if (gpu == nullptr) continue;
    any = true;
    gpu->has_driver = true;
    if (const auto name = between(line, "] ", ""); name && !gpu->name)
      gpu->name = std::string(trim(*name));
  }
  if (!any) return malformed(writer.source(), "no rank in this log");
  return {};
}

}  // namespace tandem
