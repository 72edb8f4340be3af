#include "machine/sources/nvidia_topology.h"

#include <algorithm>

#include "machine/core_list.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr int kMaxGpus = 64;

// "GPU12" -> 12.
std::optional<int> gpu_number(std::string_view word) {
  if (!word.starts_with("GPU") || word.size() < 4 || word.size() > 6) return std::nullopt;
  for (char c : word.substr(3))
    if (c < '0' || c > '9') return std::nullopt;
  const auto number = leading_int(word.substr(3));
  if (!number || *number >= kMaxGpus) return std::nullopt;
  return static_cast<int>(*number);
}

bool is_connection(std::string_view word) {
  for (std::string_view name : {"X", "SYS", "NODE", "PHB", "PXB", "PIX", "PSB"})
    if (word == name) return true;
  return word.size() > 2 && word.starts_with("NV") && leading_int(word.substr(2)).has_value();
}

// The columns of the header that stand for devices ("GPU0", "NIC3", "mlx5_0"), GPUs numbered.
std::vector<std::optional<int>> header_columns(std::string_view line) {
  std::vector<std::optional<int>> columns;
  const std::size_t end = std::min(line.find("CPU Affinity"), line.size());
  for (std::string_view word : split_words(line.substr(0, end)))
    columns.push_back(gpu_number(word));
  return columns;
}

int num_gpus_in(const std::vector<std::optional<int>>& columns) {
  return static_cast<int>(
      std::count_if(columns.begin(), columns.end(), [](auto c) { return c.has_value(); }));
}

// Every report of the driver lists all GPUs. One that lists another number than an earlier one did
// is of another machine.
Status expect_gpus(SurveyWriter& writer, int count) {
  const auto& gpus = writer.survey().gpus;
  const auto known = std::count_if(gpus.begin(), gpus.end(), [](const GpuFacts& gpu) {
    return gpu.vendor == GpuVendor::kNvidia && gpu.has_driver == true;
  });
  if (known == 0 || known == count) return {};
  return malformed(writer.source(), "this is another machine than the files read before",
                   std::to_string(known) + " GPUs", std::to_string(count) + " GPUs");
}

bool is_header(std::string_view line) {
  const auto words = split_words(line);
  return !words.empty() && gpu_number(words[0]) &&
         (words.size() == 1 || !is_connection(words[1])) &&
         (words.size() == 1 || gpu_number(words[1]) || contains(line, "Affinity") ||
          words[1].starts_with("NIC") || words[1].starts_with("mlx"));
}

// "0-23  0  N/A" after the matrix: CPU affinity, then NUMA affinity.
void read_affinity(const std::vector<std::string_view>& words, std::size_t at, GpuFacts& gpu) {
  if (at >= words.size()) return;
  if (auto cores = parse_core_list(words[at], ','); cores.ok() && gpu.local_cores.empty())
    gpu.local_cores = *std::move(cores);
  if (at + 1 < words.size())
    if (const auto node = leading_int(words[at + 1]); node && *node >= 0 && *node < 4096)
      SurveyWriter::read(gpu.numa_node, node);
}

}  // namespace

Status read_topology_matrix(std::string_view text, SurveyWriter& writer) {
  std::vector<std::optional<int>> columns;
  int rows = 0;
  for (std::string_view line : split_lines(text)) {
    if (columns.empty()) {
      if (!is_header(line)) continue;
      columns = header_columns(line);
      TANDEM_TRY_STATUS(expect_gpus(writer, num_gpus_in(columns)));
      continue;
    }
    const auto words = split_words(line);
    const auto row = words.empty() ? std::nullopt : gpu_number(words[0]);
    if (!row) continue;
    GpuFacts* gpu = writer.gpu_numbered(*row);
    if (gpu == nullptr || words.size() < columns.size() + 1)
      return malformed(writer.source(), "a row of the matrix is cut short",
                       std::to_string(columns.size()) + " columns",
                       std::string(line.substr(0, 60)));
    gpu->has_driver = true;
    ++rows;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (!columns[i] || *columns[i] == *row || !is_connection(words[i + 1])) continue;
      auto& slot = writer.survey().pair(*row, *columns[i]).topology;
      writer.learn(slot, std::optional(std::string(words[i + 1])),
                   "GPU" + std::to_string(*row) + "-GPU" + std::to_string(*columns[i]),
                   "connection");
    }
    read_affinity(words, columns.size() + 1, *gpu);
  }
  if (rows == 0) return malformed(writer.source(), "no row of GPUs in this matrix");
  // The GPUs of the header without a row: the recording was cut.
  const auto gpus =
      std::count_if(columns.begin(), columns.end(), [](auto c) { return c.has_value(); });
  if (rows != gpus)
    return malformed(writer.source(), "the matrix is cut short", std::to_string(gpus) + " rows",
                     std::to_string(rows));
  return {};
}

Status read_peer_matrix(std::string_view text, SurveyWriter& writer) {
  std::vector<std::optional<int>> columns;
  bool any = false;
  const std::string operation = contains(text, "topo -p2p w")   ? "write"
                                : contains(text, "topo -p2p n") ? "nvlink"
                                : contains(text, "topo -p2p a") ? "atomics"
                                                                : "read";
  for (std::string_view line : split_lines(text)) {
    const auto words = split_words(line);
    if (words.empty() || !gpu_number(words[0])) continue;
    if (columns.empty()) {
      columns = header_columns(line);
      TANDEM_TRY_STATUS(expect_gpus(writer, num_gpus_in(columns)));
      continue;
    }
    const auto row = gpu_number(words[0]);
    if (writer.gpu_numbered(*row) == nullptr) continue;
    for (std::size_t i = 0; i < columns.size() && i + 1 < words.size(); ++i) {
      if (!columns[i] || *columns[i] == *row || words[i + 1] == "X") continue;
      any = true;
      writer.survey().pair(*row, *columns[i]).peer.emplace(operation, words[i + 1]);
    }
  }
  if (!any && columns.size() > 1)
    return malformed(writer.source(), "no pair of GPUs in this matrix");
  return {};
}

Status read_nvlink_status(std::string_view text, SurveyWriter& writer) {
  const auto lines = split_lines(text);
  const auto listed = std::count_if(lines.begin(), lines.end(), [](std::string_view line) {
    return line.starts_with("GPU ") && contains(line, "(UUID");
  });
  if (listed > 0) TANDEM_TRY_STATUS(expect_gpus(writer, static_cast<int>(listed)));
  GpuFacts* gpu = nullptr;
  bool any = false;
  for (std::string_view line : lines) {
    const std::string_view content = trim(line);
    if (content.starts_with("GPU ") && contains(content, ":")) {
      const auto index = leading_int(content.substr(4));
      gpu = index && *index < kMaxGpus ? writer.gpu_numbered(static_cast<int>(*index)) : nullptr;
      if (gpu == nullptr) continue;
      any = true;
      gpu->has_driver = true;
      gpu->nvlinks.emplace();
      if (const auto name = between(content, ": ", " (UUID"))
        SurveyWriter::read(gpu->name, std::optional(std::string(*name)));
    } else if (gpu != nullptr && content.starts_with("Link ")) {
      NvLinkState link;
      link.link = static_cast<int>(
          std::clamp<std::int64_t>(leading_int(content.substr(5)).value_or(0), 0, 64));
      const std::size_t colon = content.find(':');
      const auto speed = colon == std::string_view::npos
                             ? std::nullopt
                             : leading_number(content.substr(colon + 1));
      link.active = speed && *speed > 0;
      link.gbps = speed.value_or(0);
      if (gpu->nvlinks->size() < 64) gpu->nvlinks->push_back(link);
    } else if (gpu != nullptr && contains(content, "not supported for Devices in MIG mode")) {
      gpu->nvlinks.reset();
    }
  }
  if (!any) return malformed(writer.source(), "no GPU in this list of links");
  return {};
}

}  // namespace tandem
