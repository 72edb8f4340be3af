#include "machine/local_survey.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <set>
#include <thread>

#include "machine/assemble.h"
#include "machine/link_load.h"
#include "machine/local_machine.h"
#include "machine/nvml_source.h"
#include "machine/sources/host_text.h"
#include "machine/sources/sysfs.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

void note(Survey& survey, std::string name, std::string kind, const Status& status) {
  survey.sources.push_back(
      {std::move(name), std::move(kind), status.ok() ? "" : status.error().what});
}

void read_host(const Machine& machine, Survey& survey) {
  survey.is_local = true;
  survey.host.host = machine.host;
  survey.machine = machine;
  std::set<int> cores;
  for (const NumaNode& node : machine.host.numa_nodes)
    cores.insert(node.cores.begin(), node.cores.end());
  survey.host.allowed_cores.assign(cores.begin(), cores.end());
  std::error_code error;
  if (fs::exists("/.dockerenv", error) || fs::exists("/run/.containerenv", error))
    survey.host.virtualisation = "a container";
  survey.sources.push_back({"hwloc", "this computer", ""});
}

// What hwloc says counts for CPUs and memory: it knows what this process may use. /proc is read
// apart, and gives what hwloc does not tell.
void read_proc_facts(Survey& survey) {
  Survey beside;
  SurveyWriter writer(beside, "/proc");
  note(survey, "/proc", "this computer", read_proc("/proc", writer));
  survey.host.driver_version = beside.host.driver_version;
  survey.host.kernel_command_line = beside.host.kernel_command_line;
  survey.host.iommu_translates = beside.host.iommu_translates;
  survey.host.memory_available_bytes = beside.host.memory_available_bytes;
  if (!survey.host.virtualisation) survey.host.virtualisation = beside.host.virtualisation;
}

bool any_errors(const Survey& survey) {
  for (const auto& [address, device] : survey.pci)
    if (device.aer.correctable.value_or(0) + device.aer.nonfatal.value_or(0) +
            device.aer.fatal.value_or(0) >
        0)
      return true;
  return false;
}

// Reads the error counters once more; both ends of a link have their own.
void read_rates(Survey& survey) {
  constexpr double kSeconds = 1.0;
  std::this_thread::sleep_for(std::chrono::duration<double>(kSeconds));
  Survey again;
  SurveyWriter writer(again, "/sys");
  if (!read_sysfs("/sys", writer).ok()) return;
  for (const auto& [address, before] : survey.pci) {
    const PciDevice* after = again.find_pci(address);
    if (after == nullptr) continue;
    const auto add = [&](const char* counter, std::optional<std::int64_t> a,
                         std::optional<std::int64_t> b) {
      if (a && b)
        survey.rates.push_back(
            {address.to_string() + " " + before.name, counter, *a, *b, kSeconds});
    };
    add("correctable", before.aer.correctable, after->aer.correctable);
    add("nonfatal", before.aer.nonfatal, after->aer.nonfatal);
    add("fatal", before.aer.fatal, after->aer.fatal);
  }
}

// /dev/kmsg gives one record a read and, opened so, never waits for more.
void read_kernel_ring(Survey& survey) {
  const int file = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return;  // not root: no fault
  constexpr int kMaxRecords = 20000;
  std::string text;
  std::array<char, 8192> record{};
  for (int i = 0; i < kMaxRecords; ++i) {
    const ssize_t size = read(file, record.data(), record.size());
    if (size < 0 && errno == EPIPE) continue;  // records were overwritten meanwhile
    if (size <= 0) break;
    const std::string_view line(record.data(), static_cast<std::size_t>(size));
    if (line.find("NVRM") != std::string_view::npos) text += clean_text(line);
  }
  close(file);
  SurveyWriter writer(survey, "kernel log");
  if (!text.empty()) note(survey, "kernel log", "this computer", read_kernel_log(text, writer));
}

void read_devices(Survey& survey) {
  if (const auto nvml = load_nvml(); nvml.ok()) {
    SurveyWriter writer(survey, "NVML");
    note(survey, "NVML", "this computer", read_nvml(*nvml, writer));
  }
  SurveyWriter writer(survey, "/sys");
  const Status sysfs = read_sysfs("/sys", writer);
  // A container may hide PCI; that is no damage.
  survey.sources.push_back(
      {"/sys", sysfs.ok() ? "this computer" : "", sysfs.ok() ? "" : "shows no PCI device"});
}

int gpu_numbered(const Survey& survey, const PciAddress& address) {
  for (std::size_t i = 0; i < survey.gpus.size(); ++i)
    if (survey.gpus[i].address == address) return static_cast<int>(i);
  return -1;
}

// The link's state under load, and what the trials of pairs showed.
Status read_loaded_devices(const CudaDriver& cuda, Survey& survey) {
  TANDEM_TRY(const LoadResult result, load_links(cuda, [&] { read_devices(survey); }));
  for (const PeerTrial& trial : result.trials) {
    const int a = gpu_numbered(survey, trial.a);
    const int b = gpu_numbered(survey, trial.b);
    if (a < 0 || b < 0) continue;
    GpuPair& pair = survey.pair(a, b);
    pair.can_access = trial.granted;
    if (!trial.failure.empty())
      pair.trial_failure = trial.failure;
    else if (!trial.bytes_correct)
      pair.trial_failure = "bytes arrived changed";
    (trial.granted ? pair.measured_gbps : pair.measured_without_gbps) = trial.gbps;
  }
  for (GpuFacts& gpu : survey.gpus) gpu.under_load = true;
  return {};
}

}  // namespace

Result<Survey> survey_local_machine(const LocalSurveyOptions& options) {
  Survey survey;
  TANDEM_TRY(const Machine machine, detect_cpu_machine());
  read_host(machine, survey);
  read_proc_facts(survey);
  const auto cuda = options.load ? load_cuda_driver() : Result<CudaDriver>(CudaDriver{});
  if (options.load && cuda.ok()) {
    const Status status = read_loaded_devices(*cuda, survey);
    note(survey, "copy load", "this computer", status);
    if (!status.ok() && survey.gpus.empty()) read_devices(survey);
  } else {
    if (options.load) survey.sources.push_back({"copy load", "", cuda.error().what});
    read_devices(survey);
  }
  if (options.watch_errors && any_errors(survey)) read_rates(survey);
  if (options.read_log) read_kernel_ring(survey);
  TANDEM_TRY_STATUS(assemble_machine(survey));
  return survey;
}

}  // namespace tandem
