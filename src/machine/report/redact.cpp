#include <regex>

#include "machine/report/doctor_report.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr const char* kLeftOut = "(left out)";

// UUIDs and the serial numbers that the driver's log lines carry.
std::string clean(const std::string& text) {
  // Anchored alternatives without nested repeats: linear on any input.
  static const std::regex kUuid(
      "GPU-[0-9a-fA-F-]{8,40}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-"
      "F]{12}");
  static const std::regex kNamed("(pid|name|user|host|hostname)=[^,; ]{1,80}");
  static const std::regex kSerial("(Serial Number:?) *[0-9A-Za-z]{4,40}");
  std::string result = std::regex_replace(text, kUuid, kLeftOut);
  result = std::regex_replace(result, kNamed, "$1=(left out)");
  return std::regex_replace(result, kSerial, "$1 (left out)");
}

// "Jan  1 00:00:00 myhost kernel: NVRM: ..." -> "NVRM: ...".
std::string without_prefix(const std::string& line) {
  for (const char* start : {"NVRM:", "pcieport"})
    if (const std::size_t at = line.find(start); at != std::string::npos) return line.substr(at);
  return line;
}

// What findings quote of the command line; the rest names disks and more.
std::string without_names(const std::string& command_line) {
  std::string kept;
  for (std::string_view word : split_words(command_line))
    if (contains(word, "iommu") || word.starts_with("pci"))
      kept += std::string(word.substr(0, 80)) + " ";
  return kept + "(the rest left out)";
}

}  // namespace

void redact(Survey& survey) {
  int number = 0;
  for (GpuFacts& gpu : survey.gpus) {
    gpu.uuid.reset();
    gpu.serial.reset();
    for (GpuProcess& process : gpu.processes) process.name = "a process";
  }
  for (XidReport& xid : survey.host.xids) xid.line = clean(without_prefix(xid.line));
  for (std::string& line : survey.host.log_faults) line = clean(without_prefix(line));
  if (survey.host.driver_failure) survey.host.driver_failure = clean(*survey.host.driver_failure);
  for (auto& [name, value] : survey.host.driver_params) value = clean(value);
  if (auto& line = survey.host.kernel_command_line) line = without_names(*line);
  for (MemoryModule& module : survey.host.memory) module.locator.clear();
  for (SourceNote& source : survey.sources) {
    if (survey.is_local) {  // "NVML", "/sys": nobody's names
      source.note = clean(source.note);
      continue;
    }
    // Names of files and folders often are names of hosts.
    source.name = "file " + std::to_string(++number);
    if (!source.note.empty()) source.note = source.kind.empty() ? "left out" : "could not be read";
  }
  for (std::string& line : survey.cut_sources)
    if (const std::size_t colon = line.find(": "); colon != std::string::npos)
      line = "a file" + line.substr(colon);
  std::erase_if(survey.conflicts,
                [](const Conflict& c) { return c.fact == "uuid" || c.fact == "serial number"; });
  for (Conflict& conflict : survey.conflicts) {
    for (std::string* side : {&conflict.first, &conflict.second})
      if (const std::size_t colon = side->find(": "); colon != std::string::npos)
        *side = "a file" + side->substr(colon);
  }
}

}  // namespace tandem
