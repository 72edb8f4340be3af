#include <algorithm>
#include <set>

#include "base/units.h"
#include "machine/cpu_catalogue.h"
#include "machine/findings/findings.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

void add(std::vector<Finding>& findings, const char* id, Severity severity, std::string subject,
         std::string title, std::vector<std::string> evidence, const char* advice) {
  findings.push_back(
      {id, severity, std::move(subject), std::move(title), std::move(evidence), advice, "certain"});
}

// Cards of one name are sold, or modified, with different memories; a few MiB are the firmware's.
bool memories_differ(const Survey& survey) {
  std::int64_t least = 0;
  std::int64_t most = 0;
  for (const GpuFacts& gpu : survey.gpus) {
    if (!gpu.memory_bytes) continue;
    least = least == 0 ? *gpu.memory_bytes : std::min(least, *gpu.memory_bytes);
    most = std::max(most, *gpu.memory_bytes);
  }
  return static_cast<double>(least) < 0.95 * static_cast<double>(most);
}

void find_mixed(const Survey& survey, std::vector<Finding>& findings) {
  std::set<std::string> names;
  std::vector<std::string> evidence;
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    names.insert(gpu.name.value_or("?"));
    const MachineDevice* device = survey.machine.find_device(survey.gpu_id(i));
    const bool speed_known = device != nullptr && device->bandwidth_gbps.has_value();
    evidence.push_back(survey.gpu_label(i) +
                       (gpu.memory_bytes ? ", " + format_bytes(*gpu.memory_bytes) : "") +
                       (speed_known ? " at " + gbps_text(*device->bandwidth_gbps) : "") +
                       (gpu.architecture ? ", " + *gpu.architecture : ""));
  }
  const bool models = names.size() > 1 && names.count("?") == 0;
  if (!models && !memories_differ(survey)) return;
  add(findings, "mixed-gpus", Severity::kInfo, "machine",
      models ? "The GPUs are of different models" : "The GPUs have different amounts of memory",
      evidence,
      "Tandem gives each a share by its speed and memory. An even split, as other programs make "
      "it, would wait for the slowest card.");
}

void find_display(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i)
    if (gpu_at(survey, i).display_active == true)
      add(findings, "display-attached", Severity::kInfo, survey.gpu_label(i),
          "This card also drives a display", {"display active"},
          "A desktop takes 0.3 to 2 GiB of its memory and some of its time. Use the CPU's graphics "
          "for the display, or give this card a smaller share.");
}

void find_mode(const Survey& survey, std::vector<Finding>& findings) {
  std::string off;
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    if (gpu.mig == true)
      add(findings, "mig-enabled", Severity::kInfo, survey.gpu_label(i),
          "MIG is on: programs see slices of this card", {"MIG mode enabled"},
          "One model over several cards wants whole cards: nvidia-smi -mig 0. Slices of one card "
          "cannot copy to one another.");
    if (gpu.persistence == false && gpu.vendor == GpuVendor::kNvidia)
      off += (off.empty() ? "" : ", ") + survey.gpu_id(i);
  }
  if (!off.empty())
    add(findings, "persistence-off", Severity::kInfo, off, "Persistence mode is off",
        {"the driver unloads when no program uses the card"},
        "nvidia-smi -pm 1, or the service nvidia-persistenced: programs then start a second or "
        "more sooner, and power limits stay set.");
}

// The program alone: some put kilobytes of arguments behind it.
std::string program_name(const GpuProcess& process) {
  const auto words = split_words(process.name);
  return words.empty() ? "a process" : std::string(words.front().substr(0, 80));
}

void find_memory_in_use(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    if (!gpu.memory_bytes || !gpu.memory_used_bytes || *gpu.memory_bytes <= 0) continue;
    const double share =
        static_cast<double>(*gpu.memory_used_bytes) / static_cast<double>(*gpu.memory_bytes);
    if (share < 0.05) continue;
    std::vector<std::string> evidence{format_bytes(*gpu.memory_used_bytes) + " of " +
                                      format_bytes(*gpu.memory_bytes) + " in use"};
    for (const GpuProcess& process : gpu.processes)
      if (evidence.size() < 6)
        evidence.push_back(program_name(process) + (process.memory_bytes
                                                        ? ", " + format_bytes(*process.memory_bytes)
                                                        : ""));
    add(findings, "memory-in-use", share > 0.1 ? Severity::kWarning : Severity::kInfo,
        survey.gpu_label(i),
        "Other programs hold " + number_text(share * 100) + " % of this card's memory",
        std::move(evidence),
        "End those programs before a large model is loaded, or plan with less memory.");
  }
}

void find_host_memory(const Survey& survey, std::vector<Finding>& findings) {
  const auto& host_bytes = survey.host.host.memory_bytes;
  if (!host_bytes || is_virtual(survey)) return;
  std::int64_t sum = 0;
  std::int64_t largest = 0;
  for (const GpuFacts& gpu : survey.gpus) {
    sum += gpu.memory_bytes.value_or(0);
    largest = std::max(largest, gpu.memory_bytes.value_or(0));
  }
  // Firmware and kernel keep some of what the modules hold.
  const double host = static_cast<double>(*host_bytes) * 1.1;
  if (host >= static_cast<double>(sum)) return;
  add(findings, "host-memory",
      host < static_cast<double>(largest) ? Severity::kWarning : Severity::kInfo, "host",
      "The host has less memory than the GPUs together",
      {format_bytes(*host_bytes) + " in the host, " + format_bytes(sum) + " in the GPUs, " +
       format_bytes(largest) + " in the largest"},
      "Tandem maps the model file and stages it piece by piece, so it runs; but the file does not "
      "stay cached, and every start reads the disk again.");
}

void find_memory_channels(const Survey& survey, std::vector<Finding>& findings) {
  if (survey.host.memory.empty() || !survey.host.host.cpu) return;
  const CpuFamily* family = find_cpu_family(*survey.host.host.cpu);
  const auto filled =
      std::count_if(survey.host.memory.begin(), survey.host.memory.end(),
                    [](const MemoryModule& module) { return module.size_bytes > 0; });
  if (family == nullptr || filled == 0) return;
  const int channels = family->channels * survey.host.host.sockets.value_or(1);
  if (filled >= channels) return;
  add(findings, "memory-channels", Severity::kInfo, "host",
      std::to_string(filled) + " memory modules for " + std::to_string(channels) + " channels",
      {family->family + " has " + std::to_string(family->channels) + " channels a socket"},
      "Layers that the CPU computes run at the speed of its memory: fill one module a channel. For "
      "GPUs alone it matters little.");
}

void find_environment(const Survey& survey, std::vector<Finding>& findings) {
  if (is_virtual(survey) && !survey.gpus.empty()) {
    std::string kind = survey.host.virtualisation.value_or("");
    for (const GpuFacts& gpu : survey.gpus)
      if (kind.empty())
        kind = "the driver's virtualisation mode: " + gpu.virtualisation.value_or("");
    add(findings, "virtual-machine", Severity::kInfo, "host",
        "This is a virtual machine or container: slots, lanes and NUMA nodes may not be the real "
        "ones",
        {kind},
        "Findings about the board's wiring are left out or marked as possible. Judge the host "
        "itself for certainty.");
  }
  const auto& cuda = survey.host.cuda_version;
  const auto newest = cuda ? leading_int(*cuda) : std::nullopt;
  if (!newest) return;
  // Within one major version any driver of that version will do (CUDA's minor version
  // compatibility).
  const auto built = leading_int(survey.program_cuda_version);
  if (built && *newest < *built)
    add(findings, "driver-too-old", Severity::kError, "host",
        "This program was built with CUDA " + survey.program_cuda_version +
            ", the NVIDIA driver supports " + *cuda + " at most",
        {"driver " + survey.host.driver_version.value_or("?")},
        "Update the driver (580 or later for CUDA 13, 525 for CUDA 12), or build Tandem with an "
        "older toolkit: its GPU code does not start with this driver.");
  else if (*newest < 12)
    add(findings, "driver-old", Severity::kInfo, "host",
        "The NVIDIA driver supports CUDA " + *cuda + " at most",
        {"driver " + survey.host.driver_version.value_or("?")},
        "Programs built for CUDA 12 need driver 525 or later.");
}

}  // namespace

// mixed-gpus, display-attached, mig-enabled, persistence-off, memory-in-use, host-memory,
// memory-channels, virtual-machine, driver-old, driver-too-old.
void find_setup(const Survey& survey, std::vector<Finding>& findings) {
  find_mixed(survey, findings);
  find_display(survey, findings);
  find_mode(survey, findings);
  find_memory_in_use(survey, findings);
  find_host_memory(survey, findings);
  find_memory_channels(survey, findings);
  find_environment(survey, findings);
}

}  // namespace tandem
