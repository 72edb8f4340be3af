#include <algorithm>

#include "machine/sources/nvidia_smi.h"
#include "machine/sources/smi_fields.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxGpus = 64;
constexpr std::size_t kMaxProcesses = 256;
constexpr std::size_t kMaxDepth = 8;

struct Heading {
  std::size_t indent = 0;
  std::string name;
};

std::string as_name(std::string_view text) {
  std::string name = lower_case(trim(text));
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

std::string path_of(const std::vector<Heading>& headings, const std::string& name) {
  std::string path;
  for (const Heading& heading : headings) path += heading.name + "/";
  return path + name;
}

bool is_reason(const std::vector<Heading>& headings) {
  return !headings.empty() && (headings.front().name == "clocks_event_reasons" ||
                               headings.front().name == "clocks_throttle_reasons");
}

std::string reason_name(const std::string& name) {
  return name == "idle" ? "gpu_idle" : name;
}

void add_process_field(const std::string& name, std::string_view value, SmiGpuFields& gpu) {
  if (name == "process_id" && gpu.processes.size() < kMaxProcesses)
    gpu.processes.push_back({leading_int(value).value_or(0), {}, std::nullopt});
  if (gpu.processes.empty()) return;
  if (name == "name") gpu.processes.back().name = value;
  if (name == "used_gpu_memory") gpu.processes.back().memory_bytes = size_in_bytes(value);
}

// One line below "GPU 0000...": either "Name : value" or a heading.
void read_line(std::string_view line, std::vector<Heading>& headings, SmiGpuFields& gpu) {
  const std::size_t indent = line.find_first_not_of(' ');
  while (!headings.empty() && headings.back().indent >= indent) headings.pop_back();
  const std::size_t colon = line.find(" : ");
  const std::string name = as_name(line.substr(0, colon));
  // A heading that also has a value ("HW Slowdown : Active") may head deeper lines.
  const bool in_processes = !headings.empty() && headings.front().name == "processes";
  if (colon != std::string_view::npos) {
    const std::string_view value = trim(line.substr(colon + 3));
    if (in_processes)
      add_process_field(name, value, gpu);
    else if (is_reason(headings) && value == "Active")
      gpu.active_reasons.push_back(reason_name(name));
    else
      gpu.values.emplace(path_of(headings, name), value);
  }
  if (headings.size() < kMaxDepth) headings.push_back({indent, name});
}

std::optional<std::string> first_word(std::string_view value) {
  const auto words = split_words(value);
  if (words.empty() || words[0] == "N/A") return std::nullopt;
  return std::string(words[0]);
}

void read_preamble(std::string_view line, SmiReport& report, std::int64_t& attached) {
  const std::size_t colon = line.find(" : ");
  if (colon == std::string_view::npos) return;
  const std::string name = as_name(line.substr(0, colon));
  const auto value = first_word(line.substr(colon + 3));
  if (name == "driver_version" || name == "kmd_version") report.driver_version = value;
  if (name == "attached_gpus") attached = value ? leading_int(*value).value_or(0) : 0;
  if (name == "cuda_version" || name == "cuda_umd_version") report.cuda_version = value;
}

}  // namespace

Status read_nvidia_smi_text(std::string_view text, SurveyWriter& writer) {
  SmiReport report;
  std::vector<Heading> headings;
  std::int64_t attached = 0;
  bool begun = false;
  for (std::string_view line : split_lines(text)) {
    if (contains(line, "NVSMI LOG")) begun = true;
    if (!begun || trim(line).empty()) continue;
    if (line.starts_with("GPU ") && PciAddress::parse(trim(line.substr(4)))) {
      if (report.gpus.size() >= kMaxGpus)
        return unsupported(writer.source(), "too many GPUs", std::to_string(kMaxGpus));
      report.gpus.push_back({});
      report.gpus.back().bus_id = trim(line.substr(4));
      headings.clear();
    } else if (report.gpus.empty()) {
      read_preamble(line, report, attached);
    } else if (line.starts_with(' ')) {
      read_line(line, headings, report.gpus.back());
    } else {
      break;  // another program's output follows
    }
  }
  if (const auto count = static_cast<std::int64_t>(report.gpus.size()); count < attached)
    writer.note_cut("it counts " + std::to_string(attached) + " GPUs and describes " +
                    std::to_string(count));
  return enter_smi_report(report, writer);
}

Status read_nvidia_smi_list(std::string_view text, SurveyWriter& writer) {
  bool any = false;
  for (std::string_view line : split_lines(text)) {
    if (!line.starts_with("GPU ") || !contains(line, "(UUID: ")) continue;
    const auto index = leading_int(line.substr(4));
    const std::size_t colon = line.find(": ");
    const std::size_t uuid = line.find(" (UUID: ");
    if (!index || colon == std::string_view::npos || uuid < colon) continue;
    GpuFacts* gpu = writer.gpu_numbered(static_cast<int>(std::min<std::int64_t>(*index, 1 << 20)));
    if (gpu == nullptr) continue;
    any = true;
    gpu->has_driver = true;
    const std::string subject = "GPU " + std::to_string(*index);
    writer.learn(gpu->name, std::optional(std::string(line.substr(colon + 2, uuid - colon - 2))),
                 subject, "name");
    writer.learn(gpu->uuid, std::optional(std::string(*between(line, "(UUID: ", ")"))), subject,
                 "uuid");
  }
  if (!any) return malformed(writer.source(), "no GPU in this list");
  return {};
}

namespace {

// "|   0  NVIDIA RTX 6000 Ada Gene...    Off |   00000000:C1:00.0 Off |                  Off |"
GpuFacts* read_table_head(std::string_view line, SurveyWriter& writer) {
  const auto words = split_words(line);
  for (std::string_view word : words) {
    const auto address = PciAddress::parse(word);
    if (!address || !contains(line, "|")) continue;
    GpuFacts& gpu = writer.gpu_at(*address);
    gpu.has_driver = true;
    const std::string_view cell = trim(line.substr(1, line.find('|', 1) - 1));
    const std::size_t name_at = cell.find_first_not_of("0123456789 ");
    const std::size_t name_end = cell.find("  ", name_at);
    std::string_view name = cell.substr(name_at == std::string_view::npos ? 0 : name_at);
    if (name_end != std::string_view::npos) name = cell.substr(name_at, name_end - name_at);
    const bool cut = name.ends_with("...");
    while (name.ends_with('.')) name.remove_suffix(1);
    for (std::string_view mode : {" On", " Off", " N/A"})
      if (name.ends_with(mode)) name.remove_suffix(mode.size());
    if (auto& slot = cut ? gpu.cut_name : gpu.name; !slot) slot = std::string(trim(name));
    if (cell.ends_with(" On")) gpu.persistence = true;
    if (cell.ends_with(" Off")) gpu.persistence = false;
    return &gpu;
  }
  return nullptr;
}

// "| 30%   43C    P8              8W /  300W |       4MiB /  49140MiB |      0%      Default |"
void read_table_state(std::string_view line, GpuFacts& gpu) {
  for (std::string_view word : split_words(line)) {
    if (word.ends_with('C') && leading_number(word))
      SurveyWriter::read(gpu.thermals.temperature_c, leading_number(word));
    if (word.size() <= 3 && word.starts_with('P'))
      SurveyWriter::read(gpu.performance_state, leading_int(word.substr(1)));
  }
  const std::size_t slash = line.find('/');
  if (slash == std::string_view::npos) return;
  SurveyWriter::read(gpu.power.limit_w, leading_number(line.substr(slash + 1)));
  const std::size_t second = line.find('/', slash + 1);
  const std::size_t bar = line.find('|', slash);
  if (second == std::string_view::npos || bar > second) return;
  SurveyWriter::read(gpu.memory_used_bytes,
                     size_in_bytes(trim(line.substr(bar + 1, second - bar - 1))));
  SurveyWriter::read(
      gpu.memory_bytes,
      size_in_bytes(trim(line.substr(second + 1, line.find('|', second) - second - 1))));
}

}  // namespace

Status read_nvidia_smi_table(std::string_view text, SurveyWriter& writer) {
  bool any = false;
  GpuFacts* gpu = nullptr;
  for (std::string_view line : split_lines(text)) {
    if (contains(line, "Driver Version:")) {
      const auto version = first_word(*between(line, "Driver Version:", "|"));
      writer.learn(writer.survey().host.driver_version, version, "host", "driver version");
      if (const auto cuda = between(line, "CUDA Version:", "|"))
        writer.read(writer.survey().host.cuda_version, first_word(*cuda));
    }
    if (contains(line, "Processes:")) break;
    if (GpuFacts* found = read_table_head(line, writer)) {
      gpu = found;
      any = true;
    } else if (gpu != nullptr && contains(line, "W /")) {
      read_table_state(line, *gpu);
      gpu = nullptr;
    }
  }
  if (!any) return malformed(writer.source(), "no GPU in this table");
  return {};
}

void read_nvidia_smi_failure(std::string_view text, SurveyWriter& writer) {
  std::string words;
  for (std::string_view line : split_lines(text.substr(0, 400)))
    if (!trim(line).empty()) words += (words.empty() ? "" : " ") + std::string(trim(line));
  writer.read(writer.survey().host.driver_failure, std::optional(words));
}

}  // namespace tandem
