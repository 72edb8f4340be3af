#include "machine/local_survey.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <set>
#include <thread>

#include "machine/assemble.h"
#include "machine/error_counters.h"
#include "machine/link_load.h"
#include "machine/local_machine.h"
#include "machine/local_tools.h"
#include "machine/nvml_source.h"
#include "machine/sources/host_text.h"
#include "machine/sources/sysfs.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

void note(Survey& survey, std::string name, std::string kind, const Status& status) {
  survey.sources.push_back(
      {std::move(name), std::move(kind), status.ok() ? "" : status.error().to_string()});
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
  survey.host.driver_params = beside.host.driver_params;
  survey.host.kernel_command_line = beside.host.kernel_command_line;
  survey.host.iommu_translates = beside.host.iommu_translates;
  survey.host.memory_available_bytes = beside.host.memory_available_bytes;
  if (!survey.host.virtualisation) survey.host.virtualisation = beside.host.virtualisation;
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

ErrorCounters read_error_counters() {
  Survey survey;
  read_devices(survey);
  return error_counters_of(survey);
}

int gpu_numbered(const Survey& survey, const PciAddress& address) {
  for (std::size_t i = 0; i < survey.gpus.size(); ++i)
    if (survey.gpus[i].address == address) return static_cast<int>(i);
  return -1;
}

void enter_trial(const PeerTrial& trial, Survey& survey) {
  const int a = gpu_numbered(survey, trial.a);
  const int b = gpu_numbered(survey, trial.b);
  if (a < 0 || b < 0) return;
  GpuPair& pair = survey.pair(a, b);
  pair.can_access = trial.granted;
  pair.copy_verified = trial.copied;
  pair.sums_verified = trial.summed;
  pair.not_summed = trial.not_summed;
  if (!trial.failure.empty()) pair.trial_failure = trial.failure;
  if (trial.gbps > 0)
    (trial.granted ? pair.measured_gbps : pair.measured_without_gbps) = trial.gbps;
}

// The link's state under load, and what the trials of pairs showed.
Status read_loaded_devices(const CudaDriver& cuda, Survey& survey) {
  TANDEM_TRY(const LoadResult result, load_links(cuda, [&] { read_devices(survey); }));
  for (const PeerTrial& trial : result.trials) enter_trial(trial, survey);
  for (GpuFacts& gpu : survey.gpus) gpu.under_load = true;
  if (result.cut_short.empty()) return {};
  return Error{
      ErrorCode::kDeviceFailed, "not every pair was tried: " + result.cut_short, {}, {}, {}};
}

// Where --load was asked for and can be had, else the cards as they are.
void read_devices_as_asked(const LocalSurveyOptions& options, Survey& survey) {
  if (!options.load) return read_devices(survey);
  const auto cuda = load_cuda_driver();
  if (!cuda.ok()) {
    survey.sources.push_back({"copy load", "", cuda.error().what});
    return read_devices(survey);
  }
  const Status status = read_loaded_devices(*cuda, survey);
  note(survey, "copy load", "this computer", status);
  if (!status.ok() && survey.gpus.empty()) read_devices(survey);
}

// Error counters before and after the load, or a second apart where some are not zero.
void read_devices_and_rates(const LocalSurveyOptions& options, Survey& survey) {
  if (!options.watch_errors) return read_devices_as_asked(options, survey);
  ErrorCounters before;
  if (options.load) before = read_error_counters();
  read_devices_as_asked(options, survey);
  if (!options.load) {
    before = error_counters_of(survey);
    if (!before.any()) return;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  add_error_rates(before, read_error_counters(), survey);
}

}  // namespace

Result<Survey> survey_local_machine(const LocalSurveyOptions& options) {
  Survey survey;
  TANDEM_TRY(const Machine machine, detect_cpu_machine());
  read_host(machine, survey);
  read_proc_facts(survey);
  read_devices_and_rates(options, survey);
  if (options.run_tools) {
    LocalTools tools;
    tools.is_root = geteuid() == 0;
    read_local_tools(tools, survey);
  }
  if (options.read_log) read_kernel_ring(survey);
  TANDEM_TRY_STATUS(assemble_machine(survey));
  return survey;
}

}  // namespace tandem
