#include <pugixml.hpp>

#include "machine/sources/nvidia_smi.h"
#include "machine/sources/smi_fields.h"
#include "machine/sources/xml_document.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxGpus = 64;
constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxProcesses = 256;

bool holds_elements(const pugi::xml_node& node) {
  for (const pugi::xml_node& child : node.children())
    if (child.type() == pugi::node_element) return true;
  return false;
}

void flatten(const pugi::xml_node& node, const std::string& path, int depth, SmiGpuFields& gpu) {
  for (const pugi::xml_node& child : node.children()) {
    if (child.type() != pugi::node_element) continue;
    const std::string_view name = child.name();
    if (name == "supported_clocks" || name == "processes" || name == "mig_devices") continue;
    const std::string here = path.empty() ? std::string(name) : path + "/" + std::string(name);
    if (holds_elements(child)) {
      if (depth < kMaxDepth) flatten(child, here, depth + 1, gpu);
    } else {
      gpu.values.emplace(here, trim(child.text().get()));
    }
  }
}

// "clocks_event_reason_sw_power_cap" (drivers before 535 say "throttle") -> "sw_power_cap".
void collect_reasons(const pugi::xml_node& node, SmiGpuFields& gpu) {
  for (const char* group : {"clocks_event_reasons", "clocks_throttle_reasons"}) {
    for (const pugi::xml_node& reason : node.child(group).children()) {
      if (trim(reason.text().get()) != "Active") continue;
      std::string_view name = reason.name();
      for (std::string_view prefix : {"clocks_event_reason_", "clocks_throttle_reason_"})
        if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
      gpu.active_reasons.emplace_back(name);
    }
  }
}

void collect_processes(const pugi::xml_node& node, SmiGpuFields& gpu) {
  for (const pugi::xml_node& info : node.child("processes").children("process_info")) {
    if (gpu.processes.size() >= kMaxProcesses) return;
    GpuProcess process;
    process.pid = leading_int(info.child_value("pid")).value_or(0);
    process.name = trim(info.child_value("process_name"));
    process.memory_bytes = size_in_bytes(info.child_value("used_memory"));
    gpu.processes.push_back(std::move(process));
  }
}

std::optional<std::string> optional_text(const pugi::xml_node& node, const char* name) {
  const std::string_view text = trim(node.child_value(name));
  if (text.empty() || text == "N/A") return std::nullopt;
  return std::string(text);
}

}  // namespace

Status read_nvidia_smi_xml(std::string_view text, SurveyWriter& writer) {
  pugi::xml_document document;
  TANDEM_TRY_STATUS(
      parse_xml(text, writer.source(), "the whole output of nvidia-smi -q -x", document));
  const pugi::xml_node log = document.child("nvidia_smi_log");
  SmiReport report;
  report.driver_version = optional_text(log, "driver_version");
  report.cuda_version = optional_text(log, "cuda_version");
  report.timestamp = optional_text(log, "timestamp");
  for (const pugi::xml_node& node : log.children("gpu")) {
    if (report.gpus.size() >= kMaxGpus)
      return unsupported(writer.source(), "too many GPUs", std::to_string(kMaxGpus));
    SmiGpuFields gpu;
    gpu.bus_id = node.attribute("id").value();
    flatten(node, "", 0, gpu);
    collect_reasons(node, gpu);
    collect_processes(node, gpu);
    report.gpus.push_back(std::move(gpu));
  }
  return enter_smi_report(report, writer);
}

}  // namespace tandem
