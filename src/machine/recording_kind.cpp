#include "machine/recording_kind.h"

#include <array>
#include <utility>

#include "machine/sources/bandwidth_logs.h"
#include "machine/sources/host_text.h"
#include "machine/sources/lspci.h"
#include "machine/sources/nvidia_smi.h"
#include "machine/sources/nvidia_topology.h"
#include "machine/sources/rocm_smi.h"
#include "machine/sources/topology_xml.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::array<std::pair<RecordingKind, std::string_view>, 28> kNames{{
    {RecordingKind::kNvidiaSmiXml, "nvidia-smi -q -x"},
    {RecordingKind::kNvidiaSmiText, "nvidia-smi -q"},
    {RecordingKind::kNvidiaSmiTable, "nvidia-smi"},
    {RecordingKind::kRocmSmi, "rocm-smi"},
    {RecordingKind::kLspci, "lspci"},
    {RecordingKind::kLspciTree, "lspci -t"},
    {RecordingKind::kLstopoXml, "lstopo XML"},
    {RecordingKind::kNcclXml, "NCCL topology XML"},
    {RecordingKind::kNvidiaSmiList, "nvidia-smi -L"},
    {RecordingKind::kTopologyMatrix, "nvidia-smi topo -m"},
    {RecordingKind::kPeerMatrix, "nvidia-smi topo -p2p"},
    {RecordingKind::kNvlinkStatus, "nvidia-smi nvlink -s"},
    {RecordingKind::kCpuinfo, "/proc/cpuinfo"},
    {RecordingKind::kMeminfo, "/proc/meminfo"},
    {RecordingKind::kLscpu, "lscpu"},
    {RecordingKind::kLscpuTable, "lscpu -e"},
    {RecordingKind::kNumactl, "numactl -H"},
    {RecordingKind::kDmidecode, "dmidecode"},
    {RecordingKind::kKernelLog, "kernel or driver log"},
    {RecordingKind::kKernelCommandLine, "kernel command line"},
    {RecordingKind::kP2pTest, "p2pBandwidthLatencyTest"},
    {RecordingKind::kNvbandwidth, "nvbandwidth"},
    {RecordingKind::kNcclTest, "nccl-tests"},
    {RecordingKind::kNvidiaSmiFailure, "nvidia-smi's error"},
    {RecordingKind::kDriverParams, "parameters of the NVIDIA driver"},
    {RecordingKind::kKnownUseless, "known, without facts about the machine"},
    {RecordingKind::kArchive, "archive"},
    {RecordingKind::kUnknown, "unknown"},
}};

// Long logs name themselves early or not at all.
constexpr std::size_t kHeadBytes = 64 * 1024;

bool any_line(std::string_view text, bool (*test)(std::string_view)) {
  for (std::string_view line : split_lines(text))
    if (test(line)) return true;
  return false;
}

bool is_lspci_header(std::string_view line) {
  const std::size_t blank = line.find(' ');
  return blank != std::string_view::npos && blank <= 16 &&
         PciAddress::parse(line.substr(0, blank)) && contains(line, ": ") &&
         !contains(line.substr(0, blank), "NVRM");
}

bool is_matrix_row(std::string_view line) {
  const auto words = split_words(line);
  return words.size() >= 2 && words[0].starts_with("GPU") && leading_int(words[0].substr(3));
}

bool is_affinity_header(std::string_view line) {
  return contains(line, "CPU Affinity") && contains(line, "GPU0");
}

bool is_lscpu_row(std::string_view line) {
  const auto words = split_words(line);
  return words.size() >= 4 && words[0] == "CPU" && words[1] == "NODE" && words[2] == "SOCKET";
}

bool is_memtotal(std::string_view line) {
  return line.starts_with("MemTotal:");
}
bool is_lscpu_line(std::string_view line) {
  return line.starts_with("Architecture:") || line.starts_with("Model name:");
}
bool is_processor(std::string_view line) {
  return line.starts_with("processor") && contains(line, ":");
}
bool is_tree_line(std::string_view line) {
  return contains(line, "-[") && contains(line, "]-") && contains(line.substr(0, 64), ":");
}
bool is_dmi_table(std::string_view line) {
  return line.starts_with("Handle 0x") && contains(line, "DMI type");
}
bool is_gpu_line(std::string_view line) {
  return line.starts_with("GPU ") && contains(line, "(UUID: GPU-");
}
bool is_link_line(std::string_view line) {
  return trim(line).starts_with("Link ") || contains(line, "Nvlink") || contains(line, "NVLink");
}
bool is_log_line(std::string_view line) {
  return contains(line, "NVRM:") || contains(line, "] [INFO] [tid") ||
         contains(line, "Linux version ");
}
bool is_acs_line(std::string_view line) {
  return trim(line).starts_with("ACSCtl:");
}

bool is_archive(std::string_view text) {
  return text.starts_with("?\x08") || text.starts_with("BZh") || text.starts_with("PK\x03\x04") ||
         text.starts_with("# Archive created by ttar") ||
         (text.size() > 262 && text.substr(257, 5) == "ustar");
}

RecordingKind recognise_xml(std::string_view head) {
  if (contains(head, "<nvidia_smi_log")) return RecordingKind::kNvidiaSmiXml;
  if (contains(head, "<topology")) return RecordingKind::kLstopoXml;
  if (contains(head, "<system")) return RecordingKind::kNcclXml;
  return RecordingKind::kUnknown;
}

bool is_smi_failure(std::string_view head) {
  return contains(head, "Failed to initialize NVML") || contains(head, "NVIDIA-SMI has failed");
}

RecordingKind recognise_nvidia(std::string_view head) {
  if (is_smi_failure(head.substr(0, 400))) return RecordingKind::kNvidiaSmiFailure;
  if (contains(head, "ResmanDebugLevel:") && contains(head, "RegistryDwords:"))
    return RecordingKind::kDriverParams;
  if (contains(head, "NVSMI LOG")) return RecordingKind::kNvidiaSmiText;
  if (contains(head, "| NVIDIA-SMI") && contains(head, "Driver Version:"))
    return RecordingKind::kNvidiaSmiTable;
  if (contains(head, "P2P (Peer-to-Peer) GPU Bandwidth Latency Test"))
    return RecordingKind::kP2pTest;
  if (contains(head, "nvbandwidth Version") || contains(head, "Running device_to_device_memcpy"))
    return RecordingKind::kNvbandwidth;
  if (contains(head, "# nThread") && contains(head, "nGpus")) return RecordingKind::kNcclTest;
  if (contains(head, "Bandwidth Test] - Starting") ||
      contains(head, "List of valid properties to query"))
    return RecordingKind::kKnownUseless;
  if (any_line(head, is_affinity_header)) return RecordingKind::kTopologyMatrix;
  if (any_line(head, is_gpu_line))
    return any_line(head, is_link_line) ? RecordingKind::kNvlinkStatus
                                        : RecordingKind::kNvidiaSmiList;
  return RecordingKind::kUnknown;
}

}  // namespace

std::string_view name_of(RecordingKind kind) {
  for (const auto& [value, name] : kNames)
    if (value == kind) return name;
  return "unknown";
}

RecordingKind recognise_recording(std::string_view text) {
  const std::string_view head = text.substr(0, kHeadBytes);
  if (is_archive(head)) return RecordingKind::kArchive;
  if (trim(head).starts_with('<')) return recognise_xml(head);
  if (const RecordingKind kind = recognise_nvidia(head); kind != RecordingKind::kUnknown)
    return kind;
  if (any_line(head, is_dmi_table)) return RecordingKind::kDmidecode;
  if (any_line(head, is_log_line)) return RecordingKind::kKernelLog;
  if (contains(head, "ROCm System Management") ||
      (contains(head, "GPU[0]") && contains(head, ": ")))
    return RecordingKind::kRocmSmi;
  if (any_line(head, is_lspci_header)) return RecordingKind::kLspci;
  if (any_line(head, is_tree_line)) return RecordingKind::kLspciTree;
  if (any_line(head, is_matrix_row)) return RecordingKind::kPeerMatrix;
  if (any_line(head, is_lscpu_row)) return RecordingKind::kLscpuTable;
  if (any_line(head, is_processor)) return RecordingKind::kCpuinfo;
  if (any_line(head, is_memtotal)) return RecordingKind::kMeminfo;
  if (contains(head, "node 0 cpus:") || contains(head, "node 0 size:"))
    return RecordingKind::kNumactl;
  if (any_line(head, is_lscpu_line)) return RecordingKind::kLscpu;
  if (contains(head, "BOOT_IMAGE=") && split_lines(trim(head)).size() == 1)
    return RecordingKind::kKernelCommandLine;
  // Lines of lspci without the devices they belong to say nothing that could be placed.
  if (any_line(head, is_acs_line)) return RecordingKind::kKnownUseless;
  return RecordingKind::kUnknown;
}

Status read_recording(RecordingKind kind, std::string_view text, SurveyWriter& writer) {
  switch (kind) {
    case RecordingKind::kNvidiaSmiXml:
      return read_nvidia_smi_xml(text, writer);
    case RecordingKind::kNvidiaSmiText:
      return read_nvidia_smi_text(text, writer);
    case RecordingKind::kNvidiaSmiTable:
      return read_nvidia_smi_table(text, writer);
    case RecordingKind::kRocmSmi:
      return read_rocm_smi(text, writer);
    case RecordingKind::kLspci:
      return read_lspci(text, writer);
    case RecordingKind::kLspciTree:
      return read_lspci_tree(text, writer);
    case RecordingKind::kLstopoXml:
      return read_lstopo_xml(text, writer);
    case RecordingKind::kNcclXml:
      return read_nccl_xml(text, writer);
    case RecordingKind::kNvidiaSmiList:
      return read_nvidia_smi_list(text, writer);
    case RecordingKind::kTopologyMatrix:
      return read_topology_matrix(text, writer);
    case RecordingKind::kPeerMatrix:
      return read_peer_matrix(text, writer);
    case RecordingKind::kNvlinkStatus:
      return read_nvlink_status(text, writer);
    case RecordingKind::kCpuinfo:
      return read_cpuinfo(text, writer);
    case RecordingKind::kMeminfo:
      return read_meminfo(text, writer);
    case RecordingKind::kLscpu:
      return read_lscpu(text, writer);
    case RecordingKind::kLscpuTable:
      return read_lscpu_table(text, writer);
    case RecordingKind::kNumactl:
      return read_numactl(text, writer);
    case RecordingKind::kDmidecode:
      return read_dmidecode(text, writer);
    case RecordingKind::kKernelLog:
      return read_kernel_log(text, writer);
    case RecordingKind::kKernelCommandLine:
      read_kernel_command_line(text, writer);
      return {};
    case RecordingKind::kP2pTest:
      return read_p2p_test(text, writer);
    case RecordingKind::kNvbandwidth:
      return read_nvbandwidth(text, writer);
    case RecordingKind::kNcclTest:
      return read_nccl_test(text, writer);
    case RecordingKind::kNvidiaSmiFailure:
      read_nvidia_smi_failure(text, writer);
      return {};
    case RecordingKind::kDriverParams:
      read_driver_params(text, writer);
      return {};
    case RecordingKind::kKnownUseless:
    case RecordingKind::kArchive:
    case RecordingKind::kUnknown:
      return {};
  }
  return {};
}

}  // namespace tandem
