#include "machine/nvml_source.h"

#include <array>
#include <string>
#include <utility>

namespace tandem {
namespace {

constexpr unsigned kMaxGpus = 64;
constexpr int kOk = 0;                 // NVML_SUCCESS
constexpr int kGpuSensor = 0;          // NVML_TEMPERATURE_GPU
constexpr int kSlowdownThreshold = 1;  // NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
constexpr int kUncorrected = 1;        // NVML_MEMORY_ERROR_TYPE_UNCORRECTED
constexpr int kPeerRead = 0;           // NVML_P2P_CAPS_INDEX_READ
constexpr int kMaxNvlinks = 18;        // NVML_NVLINK_MAX_LINKS
constexpr int kRemoteGpu = 0;          // NVML_NVLINK_DEVICE_TYPE_GPU
constexpr int kRemoteSwitch = 2;       // NVML_NVLINK_DEVICE_TYPE_SWITCH
constexpr int kMismatch = 18;          // NVML_ERROR_LIB_RM_VERSION_MISMATCH

// nvmlClocksEventReason*.
constexpr std::array<std::pair<unsigned long long, const char*>, 7> kReasons{{
    {0x1, "gpu_idle"},
    {0x4, "sw_power_cap"},
    {0x8, "hw_slowdown"},
    {0x10, "sync_boost"},
    {0x20, "sw_thermal_slowdown"},
    {0x40, "hw_thermal_slowdown"},
    {0x80, "hw_power_brake_slowdown"},
}};

// nvmlPowerSource_t.
constexpr std::array<const char*, 3> kPowerSources{"AC", "battery", "undersized"};

// nvmlGpuP2PStatus_t in the words of nvidia-smi topo -p2p.
constexpr std::array<const char*, 7> kPeerWords{"OK", "CNS", "GNS", "TNS", "DR", "NS", "U"};

// A function's answer, or nullopt where it is missing or refuses.
template <typename T, typename Function, typename... Arguments>
std::optional<T> ask(Function function, Arguments... arguments) {
  T value{};
  if (function == nullptr || function(arguments..., &value) != kOk) return std::nullopt;
  return value;
}

template <typename Function>
std::optional<std::string> ask_text(Function function, NvmlApi::Device device) {
  std::array<char, 128> text{};
  if (function == nullptr ||
      function(device, text.data(), static_cast<unsigned>(text.size())) != kOk)
    return std::nullopt;
  text.back() = '\0';
  return std::string(text.data());
}

std::optional<double> as_watts(std::optional<unsigned> milliwatts) {
  return milliwatts ? std::optional(*milliwatts / 1000.0) : std::nullopt;
}

std::optional<bool> as_flag(std::optional<int> value) {
  return value ? std::optional(*value != 0) : std::nullopt;
}

void read_state(const NvmlApi& api, NvmlApi::Device device, GpuFacts& gpu, SurveyWriter& w) {
  w.read(gpu.performance_state, ask<int>(api.performance_state, device));
  if (const auto use = ask<NvmlApi::Utilization>(api.utilization, device))
    w.read(gpu.utilisation_percent, std::optional<double>(use->gpu));
  w.read(gpu.power.draw_w, as_watts(ask<unsigned>(api.power_usage_mw, device)));
  w.read(gpu.power.limit_w, as_watts(ask<unsigned>(api.enforced_limit_mw, device)));
  w.read(gpu.power.default_w, as_watts(ask<unsigned>(api.default_limit_mw, device)));
  if (const auto source = ask<unsigned>(api.power_source, device);
      source && *source < kPowerSources.size())
    w.read(gpu.power.source, std::optional<std::string>(kPowerSources[*source]));
  w.read(gpu.thermals.temperature_c, ask<unsigned>(api.temperature, device, kGpuSensor));
  w.read(gpu.thermals.slowdown_c,
         ask<unsigned>(api.temperature_threshold, device, kSlowdownThreshold));
  w.read(gpu.thermals.fan_percent, ask<unsigned>(api.fan_speed, device));
  w.read(gpu.persistence, as_flag(ask<int>(api.persistence, device)));
  w.read(gpu.display_active, as_flag(ask<int>(api.display_active, device)));
  unsigned current = 0;
  unsigned pending = 0;
  if (api.mig_mode != nullptr && api.mig_mode(device, &current, &pending) == kOk)
    gpu.mig = current != 0;
  if (const auto reasons = ask<unsigned long long>(api.slowdown_reasons, device))
    for (const auto& [bit, name] : kReasons)
      if ((*reasons & bit) != 0) gpu.slowdowns.emplace_back(name);
  w.read(gpu.health.uncorrectable_since_boot,
         ask<unsigned long long>(api.ecc_errors, device, kUncorrected, 0));
  w.read(gpu.health.uncorrectable_ever,
         ask<unsigned long long>(api.ecc_errors, device, kUncorrected, 1));
  unsigned correctable = 0;
  unsigned uncorrectable = 0;
  unsigned waiting = 0;
  unsigned failed = 0;
  if (api.remapped_rows != nullptr &&
      api.remapped_rows(device, &correctable, &uncorrectable, &waiting, &failed) == kOk) {
    w.read(gpu.health.repair_pending, std::optional(waiting != 0));
    w.read(gpu.health.repair_failed, std::optional(failed != 0));
  }
}

void read_nvlinks(const NvmlApi& api, NvmlApi::Device device, GpuFacts& gpu) {
  std::vector<NvLinkState> links;
  for (int link = 0; link < kMaxNvlinks; ++link) {
    const auto state = ask<int>(api.nvlink_state, device, static_cast<unsigned>(link));
    if (!state) break;  // beyond the card's last link
    links.push_back({link, *state != 0, 0});
  }
  if (api.nvlink_state != nullptr) gpu.nvlinks = std::move(links);
}

PciAddress address_of(const NvmlApi::PciInfo& pci) {
  return {pci.domain, static_cast<std::uint8_t>(pci.bus), static_cast<std::uint8_t>(pci.device), 0};
}

Status read_gpu(const NvmlApi& api, NvmlApi::Device device, SurveyWriter& writer) {
  const auto pci = ask<NvmlApi::PciInfo>(api.pci_info, device);
  if (!pci) return malformed(writer.source(), "a GPU without a PCI address");
  const PciAddress address = address_of(*pci);
  GpuFacts& gpu = writer.gpu_at(address);
  const std::string subject = address.to_string();
  gpu.has_driver = true;
  writer.learn(gpu.name, ask_text(api.name, device), subject, "name");
  writer.learn(gpu.uuid, ask_text(api.uuid, device), subject, "uuid");
  if (const auto memory = ask<NvmlApi::Memory>(api.memory, device)) {
    writer.learn(gpu.memory_bytes, std::optional(memory->total), subject, "memory");
    writer.read(gpu.memory_used_bytes, std::optional(memory->used));
  }
  if (const auto bar1 = ask<NvmlApi::Memory>(api.bar1, device))
    writer.read(gpu.bar1_bytes, std::optional(bar1->total));
  writer.read(gpu.link.generation, ask<unsigned>(api.link_generation, device));
  writer.read(gpu.link.width, ask<unsigned>(api.link_width, device));
  writer.read(gpu.link.max_generation, ask<unsigned>(api.max_link_generation, device));
  writer.read(gpu.link.max_width, ask<unsigned>(api.max_link_width, device));
  writer.read(gpu.card_generation, ask<unsigned>(api.card_link_generation, device));
  writer.read(gpu.replays, ask<unsigned>(api.replay_counter, device));
  read_state(api, device, gpu, writer);
  read_nvlinks(api, device, gpu);
  return {};
}

// nvmlGpuTopologyLevel_t in the words of nvidia-smi topo -m.
std::optional<std::string> topology_word(int level) {
  if (level == 0 || level == 10) return "PIX";
  if (level == 20) return "PXB";
  if (level == 30) return "PHB";
  if (level == 40) return "NODE";
  if (level == 50) return "SYS";
  return std::nullopt;
}

// How many of `device`'s active links end at the card at `peer`, or at a switch, which joins all.
int nvlinks_to(const NvmlApi& api, NvmlApi::Device device, const PciAddress& peer) {
  int count = 0;
  for (unsigned link = 0; link < kMaxNvlinks; ++link) {
    const auto active = ask<int>(api.nvlink_state, device, link);
    if (!active || *active == 0) continue;
    const auto type = ask<int>(api.nvlink_remote_type, device, link);
    const auto remote = ask<NvmlApi::PciInfo>(api.nvlink_remote, device, link);
    const bool direct =
        type.value_or(kRemoteGpu) == kRemoteGpu && remote && address_of(*remote) == peer;
    if (type == kRemoteSwitch || direct) ++count;
  }
  return count;
}

// What lies between two cards, in the words of nvidia-smi topo -m: the common ancestor is of the
// PCIe tree and says nothing of NVLink.
void read_pair(const NvmlApi& api, const std::vector<NvmlApi::Device>& devices,
               const std::vector<PciAddress>& addresses, std::size_t a, std::size_t b,
               GpuPair& pair) {
  if (const int links = nvlinks_to(api, devices[a], addresses[b]); links > 0)
    pair.topology = "NV" + std::to_string(links);
  else if (const auto level = ask<int>(api.common_ancestor, devices[a], devices[b]))
    pair.topology = topology_word(*level);
  const auto peer = ask<int>(api.peer_status, devices[a], devices[b], kPeerRead);
  if (peer && *peer >= 0 && *peer < static_cast<int>(kPeerWords.size()))
    pair.peer.emplace("read", kPeerWords[static_cast<std::size_t>(*peer)]);
}

}  // namespace

Status read_nvml(const NvmlApi& api, SurveyWriter& writer) {
  if (const int code = api.init(); code != kOk) {
    const std::string words = code == kMismatch
                                  ? "NVML: driver/library version mismatch"
                                  : "NVML does not start: code " + std::to_string(code);
    writer.read(writer.survey().host.driver_failure, std::optional(words));
    return {};  // a finding of its own
  }
  std::array<char, 96> version{};
  if (api.driver_version != nullptr &&
      api.driver_version(version.data(), static_cast<unsigned>(version.size()) - 1) == kOk)
    writer.learn(writer.survey().host.driver_version, std::optional(std::string(version.data())),
                 "host", "driver version");
  if (const auto cuda = ask<int>(api.cuda_version))
    writer.survey().host.cuda_version =
        std::to_string(*cuda / 1000) + "." + std::to_string(*cuda % 1000 / 10);
  const unsigned count = std::min(ask<unsigned>(api.device_count).value_or(0), kMaxGpus);
  std::vector<NvmlApi::Device> devices;
  Status status;
  for (unsigned i = 0; i < count && status.ok(); ++i) {
    const auto device = ask<NvmlApi::Device>(api.device_by_index, i);
    if (!device) continue;  // a card that fell off the bus
    devices.push_back(*device);
    status = read_gpu(api, *device, writer);
  }
  std::vector<PciAddress> addresses;
  for (NvmlApi::Device device : devices)
    addresses.push_back(
        address_of(ask<NvmlApi::PciInfo>(api.pci_info, device).value_or(NvmlApi::PciInfo{})));
  for (std::size_t a = 0; a < devices.size() && status.ok(); ++a)
    for (std::size_t b = a + 1; b < devices.size(); ++b)
      read_pair(api, devices, addresses, a, b,
                writer.survey().pair(static_cast<int>(a), static_cast<int>(b)));
  if (api.shutdown != nullptr) api.shutdown();
  return status;
}

}  // namespace tandem
