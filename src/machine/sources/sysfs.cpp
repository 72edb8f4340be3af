#include "machine/sources/sysfs.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "machine/core_list.h"
#include "machine/sources/host_text.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = 64 * 1024;
constexpr std::size_t kMaxProcFileBytes = 8 * 1024 * 1024;
constexpr std::size_t kMaxDevices = 8192;

// "" where the file is absent or no regular file: a recording may hold pipes and devices.
std::string read_small(const fs::path& path, std::size_t limit = kMaxFileBytes) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  std::ifstream file(path, std::ios::binary);
  std::string text(limit, '\0');
  file.read(text.data(), static_cast<std::streamsize>(limit));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

std::string read_text(const fs::path& path) {
  return clean_text(read_small(path));
}

std::optional<std::uint16_t> read_id(const fs::path& path) {
  const auto value = leading_hex(read_text(path));
  if (!value || *value < 0 || *value > 0xFFFF) return std::nullopt;
  return static_cast<std::uint16_t>(*value);
}

// The last part of where a symbolic link points: the driver's or group's name.
std::optional<std::string> link_name(const fs::path& path) {
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  if (error) return std::nullopt;
  return clean_text(target.filename().string());
}

// "TOTAL_ERR_COR 12", the last line of aer_dev_correctable.
std::optional<std::int64_t> aer_total(const fs::path& path) {
  const std::string text = read_text(path);  // the lines are views into it
  for (std::string_view line : split_lines(text))
    if (line.starts_with("TOTAL_ERR_")) {
      const auto words = split_words(line);
      if (words.size() == 2) return leading_int(words[1]);
    }
  return std::nullopt;
}

// Lines "start end flags" of the file `resource`, one a BAR.
void read_bars(const fs::path& directory, PciDevice& device) {
  const std::string text = read_text(directory / "resource");
  int index = 0;
  for (std::string_view line : split_lines(text)) {
    const auto words = split_words(line);
    if (index > 5) break;
    if (words.size() >= 3) {
      const auto start = leading_hex(words[0]);
      const auto end = leading_hex(words[1]);
      const auto flags = leading_hex(words[2]);
      const bool is_memory = flags && (*flags & 0x200) != 0;
      if (is_memory && start && end && *end > *start && *start >= 0) {
        PciBar bar{index, *end - *start + 1, 0};
        // Bit n of resourceN_resize: a size of 2^n MiB is possible.
        const std::string resize =
            read_text(directory / ("resource" + std::to_string(index) + "_resize"));
        if (const auto sizes = leading_hex(resize); sizes && *sizes > 0)
          for (int bit = 0; bit < 42; ++bit)
            if (*sizes >> bit & 1) bar.max_size_bytes = std::int64_t{1} << (20 + bit);
        device.bars.push_back(bar);
      }
    }
    ++index;
  }
}

std::uint32_t word_at(const std::string& config, std::size_t at, int bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < bytes; ++i)
    if (at + static_cast<std::size_t>(i) < config.size())
      value |= std::uint32_t{static_cast<unsigned char>(config[at + static_cast<std::size_t>(i)])}
               << (8 * i);
  return value;
}

// Configuration space (PCIe Base Specification 6.0, 7.5 and 7.7.11): the bus below a bridge, the
// kind of port, and ACS. Only root may read beyond the first 64 bytes of a running machine.
void read_config(const std::string& config, PciDevice& device) {
  if (config.size() < 64) return;
  if ((word_at(config, 0x0E, 1) & 0x7F) == 1) {
    const std::uint32_t secondary = word_at(config, 0x19, 1);
    if (secondary > 0) device.secondary_bus = static_cast<std::uint8_t>(secondary);
  }
  std::set<std::uint32_t> seen;  // a damaged list may run in a circle
  for (std::uint32_t at = word_at(config, 0x34, 1) & 0xFC;
       at >= 0x40 && at + 8 <= config.size() && seen.insert(at).second;
       at = word_at(config, at + 1, 1) & 0xFC) {
    if (word_at(config, at, 1) != 0x10) continue;
    const std::uint32_t type = word_at(config, at + 2, 2) >> 4 & 0xF;
    device.port = type == 4   ? PciPort::kRootPort
                  : type == 5 ? PciPort::kUpstream
                  : type == 6 ? PciPort::kDownstream
                              : PciPort::kEndpoint;
  }
  seen.clear();
  for (std::uint32_t at = 0x100; at >= 0x100 && at + 8 <= config.size() && seen.insert(at).second;
       at = word_at(config, at, 4) >> 20) {
    constexpr std::uint32_t kAcs = 0x000D;
    constexpr std::uint32_t kRequestRedirect = 1u << 2;
    if ((word_at(config, at, 4) & 0xFFFF) == kAcs)
      device.acs_redirect = (word_at(config, at + 6, 2) & kRequestRedirect) != 0;
  }
}

// sysfs nests directories as buses nest: the directory above, if it is a PCI function, is the
// bridge. Only a resolved link tells.
std::optional<PciAddress> parent_of(const fs::path& resolved) {
  return PciAddress::parse(resolved.parent_path().filename().string());
}

std::optional<int> generation_of(const fs::path& path) {
  const auto speed = leading_number(read_text(path));
  return speed ? pcie_generation(*speed) : std::nullopt;
}

std::optional<int> width_of(const fs::path& path) {
  const auto width = leading_int(read_text(path));
  if (!width || *width <= 0 || *width > 32) return std::nullopt;  // 0 and 255: no link
  return static_cast<int>(*width);
}

void read_device(const fs::path& directory, const fs::path& resolved, PciAddress address,
                 SurveyWriter& writer) {
  PciDevice& device = writer.pci_at(address);
  const std::string subject = address.to_string();
  if (!device.parent) device.parent = parent_of(resolved);
  if (const auto id = read_id(directory / "vendor")) device.vendor_id = id;
  if (const auto id = read_id(directory / "device")) device.device_id = id;
  if (const auto code = leading_hex(read_text(directory / "class")))
    device.class_code = static_cast<std::uint16_t>(*code >> 8);
  writer.read(device.link.generation, generation_of(directory / "current_link_speed"));
  writer.read(device.link.width, width_of(directory / "current_link_width"));
  writer.learn(device.link.max_generation, generation_of(directory / "max_link_speed"), subject,
               "highest link generation");
  writer.learn(device.link.max_width, width_of(directory / "max_link_width"), subject,
               "widest link");
  if (const auto node = leading_int(read_text(directory / "numa_node"));
      node && *node >= -1 && *node < 4096)
    writer.learn(device.numa_node, node, subject, "NUMA node");
  if (!device.driver) device.driver = link_name(directory / "driver").value_or("");
  if (const auto group = link_name(directory / "iommu_group"))
    writer.read(device.iommu_group, leading_int(*group));
  if (const std::string type(trim(read_text(directory / "iommu_group/type"))); !type.empty())
    device.iommu_type = type.substr(0, 40);
  writer.read(device.vram_bytes, leading_int(read_text(directory / "mem_info_vram_total")));
  writer.read(device.aer.correctable, aer_total(directory / "aer_dev_correctable"));
  writer.read(device.aer.nonfatal, aer_total(directory / "aer_dev_nonfatal"));
  writer.read(device.aer.fatal, aer_total(directory / "aer_dev_fatal"));
  if (device.bars.empty()) read_bars(directory, device);
  read_config(read_small(directory / "config"), device);
  if (device.is_bridge() && device.port == PciPort::kUnknown && !device.parent)
    device.port = PciPort::kRootPort;
}

// A tree may be packed without the links below bus/pci; then the functions are found below devices.
std::vector<fs::path> device_directories(const fs::path& root, const fs::path& base) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(root / "bus/pci/devices", error), end; !error && it != end;
       it.increment(error)) {
    if (found.size() >= kMaxDevices) break;
    std::error_code broken;
    const fs::path resolved = fs::canonical(it->path(), broken);
    const auto [mismatch, rest] =
        std::mismatch(base.begin(), base.end(), resolved.begin(), resolved.end());
    if (!broken && mismatch == base.end() && fs::is_directory(resolved, broken))
      found.push_back(it->path());
  }
  return found;
}

// devices/system/node/node3: its CPUs and memory.
void read_numa_nodes(const fs::path& root, SurveyWriter& writer) {
  constexpr std::size_t kMaxNodes = 4096;
  Host& host = writer.survey().host.host;
  if (!host.numa_nodes.empty()) return;
  std::error_code error;
  for (fs::directory_iterator it(root / "devices/system/node", error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    const auto index =
        name.starts_with("node") ? leading_int(std::string_view(name).substr(4)) : std::nullopt;
    if (!index || *index < 0 || *index > 65535 || host.numa_nodes.size() >= kMaxNodes) continue;
    NumaNode node{static_cast<int>(*index), {}, std::nullopt};
    const std::string cores = read_text(it->path() / "cpulist");
    if (auto list = parse_core_list(trim(cores), ','); list.ok()) node.cores = *std::move(list);
    const std::string memory = read_text(it->path() / "meminfo");
    if (const auto total = between(memory, "MemTotal:", "kB"))
      if (const auto kib = leading_int(*total); kib && *kib > 0 && *kib < (std::int64_t{1} << 50))
        node.memory_bytes = *kib * 1024;
    host.numa_nodes.push_back(std::move(node));
  }
  std::sort(host.numa_nodes.begin(), host.numa_nodes.end(),
            [](const NumaNode& a, const NumaNode& b) { return a.index < b.index; });
}

// driver/nvidia/gpus/0000:01:00.0: every GPU that the NVIDIA driver runs.
bool read_nvidia_gpus(const fs::path& root, SurveyWriter& writer) {
  constexpr int kMaxGpus = 64;
  std::vector<PciAddress> addresses;
  std::error_code error;
  for (fs::directory_iterator it(root / "driver/nvidia/gpus", error), end; !error && it != end;
       it.increment(error))
    if (const auto address = PciAddress::parse(it->path().filename().string());
        address && addresses.size() < kMaxGpus)
      addresses.push_back(*address);
  std::sort(addresses.begin(), addresses.end());
  for (const PciAddress& address : addresses) {
    GpuFacts& gpu = writer.gpu_at(address);
    gpu.has_driver = true;
    const std::string text =
        read_text(root / "driver/nvidia/gpus" / address.to_string() / "information");
    for (std::string_view line : split_lines(text))
      if (line.starts_with("Model:") && !gpu.name) gpu.name = std::string(trim(line.substr(6)));
    // A GPU with coherent memory is a NUMA node of its own, which is no part of the host.
    const std::string numa =
        read_text(root / "driver/nvidia/gpus" / address.to_string() / "numa_status");
    if (const auto text_node = between(numa, "Node:", "\n"))
      if (const auto node = leading_int(*text_node); node && *node >= 0)
        std::erase_if(writer.survey().host.host.numa_nodes,
                      [&](const NumaNode& n) { return n.index == *node; });
  }
  return !addresses.empty();
}

void read_board(const fs::path& root, SurveyWriter& writer) {
  const std::string name(trim(read_text(root / "class/dmi/id/board_name")));
  const std::string maker(trim(read_text(root / "class/dmi/id/board_vendor")));
  if (!name.empty() && !writer.survey().host.board)
    writer.survey().host.board = maker.empty() ? name : maker + " " + name;
}

}  // namespace

Status read_sysfs(const fs::path& root, SurveyWriter& writer) {
  std::error_code error;
  const fs::path base = fs::canonical(root, error);
  if (error) return not_found("cannot read the tree", root.string());
  std::size_t count = 0;
  for (const fs::path& directory : device_directories(root, base)) {
    const auto address = PciAddress::parse(directory.filename().string());
    if (!address) continue;
    const fs::path resolved = fs::canonical(directory, error);
    if (error) continue;
    read_device(directory, resolved, *address, writer);
    ++count;
  }
  read_board(root, writer);
  read_numa_nodes(root, writer);
  if (count == 0) return not_found("no PCI device in this tree", root.string());
  return {};
}

Status read_proc(const fs::path& root, SurveyWriter& writer) {
  bool any = false;
  const auto with = [&](const char* name, auto read) {
    const std::string text = clean_text(read_small(root / name, kMaxProcFileBytes));
    if (text.empty()) return;
    any = true;
    read(text);
  };
  with("cpuinfo", [&](const std::string& text) { (void)read_cpuinfo(text, writer).ok(); });
  with("meminfo", [&](const std::string& text) { (void)read_meminfo(text, writer).ok(); });
  with("cmdline", [&](const std::string& text) { read_kernel_command_line(text, writer); });
  with("driver/nvidia/version",
       [&](const std::string& text) { read_nvidia_version(text, writer); });
  with("driver/nvidia/params", [&](const std::string& text) { read_driver_params(text, writer); });
  any = read_nvidia_gpus(root, writer) || any;
  if (!any) return not_found("no known file in this tree", root.string());
  return {};
}

}  // namespace tandem
