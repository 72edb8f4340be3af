#include "machine/sources/topology_xml.h"

#include <cmath>

#include "machine/sources/xml_document.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr int kMaxDepth = 128;
constexpr std::size_t kMaxDevices = 8192;
constexpr std::int64_t kMaxNodes = 4096;

std::string_view info(const pugi::xml_node& object, std::string_view name) {
  for (const pugi::xml_node& item : object.children("info"))
    if (item.attribute("name").value() == name) return item.attribute("value").value();
  return {};
}

// The last set bits of "0x0000ffff,0xffffffff": CPUs by number.
std::vector<int> bits_of(std::string_view mask) {
  std::vector<int> bits;
  int base = 0;
  while (!mask.empty() && base < 8192) {
    const std::size_t comma = mask.rfind(',');
    const auto word = leading_hex(comma == std::string_view::npos ? mask : mask.substr(comma + 1));
    for (int bit = 0; bit < 32 && word; ++bit)
      if (*word >> bit & 1) bits.push_back(base + bit);
    if (comma == std::string_view::npos) break;
    mask = mask.substr(0, comma);
    base += 32;
  }
  return bits;
}

// Walks lstopo's objects. Objects nest: machine, packages, caches, cores; bridges and devices hang
// below the part of the machine they are near to.
class LstopoReader {
 public:
  explicit LstopoReader(SurveyWriter& writer) : writer_(writer) {}

  Status walk(const pugi::xml_node& object, std::optional<PciAddress> bridge, int node, int depth) {
    if (depth > kMaxDepth)
      return unsupported(writer_.source(), "objects nest too deeply", std::to_string(kMaxDepth));
    const std::string_view type = object.attribute("type").value();
    Host& host = writer_.survey().host.host;
    if (type == "Package" || type == "Socket") {
      ++packages_;
      if (const auto model = info(object, "CPUModel"); !model.empty() && !host.cpu)
        host.cpu = model;
    }
    if (type == "Core") ++cores_;
    if (type == "PU") ++cpus_;
    if (type == "NUMANode") add_node(object);
    if (const int own = own_node(object); own >= 0) node = own;
    if (type == "Bridge" || type == "PCIDev") {
      const auto address = add_device(object, bridge, node, type == "Bridge");
      if (address && type == "Bridge") bridge = address;
      if (writer_.survey().pci.size() > kMaxDevices)
        return unsupported(writer_.source(), "too many PCI devices", std::to_string(kMaxDevices));
    }
    for (const pugi::xml_node& child : object.children("object"))
      TANDEM_TRY_STATUS(walk(child, bridge, node, depth + 1));
    return {};
  }

  void finish() {
    Host& host = writer_.survey().host.host;
    if (cores_ > 0) writer_.learn(host.cores, std::optional(cores_), "host", "cores");
    if (cpus_ > 0) writer_.read(host.logical_cpus, std::optional(cpus_));
    if (packages_ > 0) writer_.learn(host.sockets, std::optional(packages_), "host", "sockets");
    if (host.numa_nodes.empty()) host.numa_nodes = std::move(nodes_);
    if (memory_bytes_ > 0) writer_.read(host.memory_bytes, std::optional(memory_bytes_));
  }

 private:
  void add_node(const pugi::xml_node& object) {
    // GPUs with coherent memory appear as NUMA nodes without CPUs; they are not host memory.
    const std::string_view subtype = object.attribute("subtype").value();
    const auto index = leading_int(object.attribute("os_index").value());
    const auto bytes = leading_int(object.attribute("local_memory").value());
    if (!index || *index < 0 || subtype == "GPUMemory" || nodes_.size() >= kMaxNodes) return;
    NumaNode node{static_cast<int>(*index), bits_of(object.attribute("cpuset").value()),
                  std::nullopt};
    if (bytes && *bytes > 0) {
      node.memory_bytes = *bytes;
      memory_bytes_ = checked_sum(memory_bytes_, *bytes);
    }
    nodes_.push_back(std::move(node));
  }

  static std::int64_t checked_sum(std::int64_t a, std::int64_t b) {
    std::int64_t sum = 0;
    return __builtin_add_overflow(a, b, &sum) ? a : sum;
  }

  // The one NUMA node an object is near to, or -1.
  static int own_node(const pugi::xml_node& object) {
    const auto nodes = bits_of(object.attribute("nodeset").value());
    return nodes.size() == 1 ? nodes.front() : -1;
  }

  std::optional<PciAddress> add_device(const pugi::xml_node& object,
                                       std::optional<PciAddress> bridge, int node, bool is_bridge) {
    const auto address = PciAddress::parse(object.attribute("pci_busid").value());
    if (!address) return std::nullopt;  // a host bridge
    PciDevice& device = writer_.pci_at(*address);
    if (bridge && !device.parent) device.parent = bridge;
    const std::string_view type = object.attribute("pci_type").value();  // "0302 [10de:1db8] ..."
    if (const auto code = leading_hex(type)) device.class_code = static_cast<std::uint16_t>(*code);
    if (const auto ids = between(type, "[", "]"); ids && ids->size() == 9) {
      device.vendor_id = static_cast<std::uint16_t>(leading_hex(ids->substr(0, 4)).value_or(0));
      device.device_id = static_cast<std::uint16_t>(leading_hex(ids->substr(5)).value_or(0));
    }
    if (is_bridge && !bridge) device.port = PciPort::kRootPort;
    if (!is_bridge) device.port = PciPort::kEndpoint;
    if (const auto speed = leading_number(object.attribute("pci_link_speed").value());
        speed && *speed > 0)
      device.link_gbps = *speed;
    if (node >= 0) device.numa_node = device.numa_node.value_or(node);
    const std::string_view name = info(object, "PCIDevice");
    if (device.name.empty())
      device.name = name.empty() ? std::string()
                                 : std::string(info(object, "PCIVendor")) + " " + std::string(name);
    return address;
  }

  SurveyWriter& writer_;
  int packages_ = 0;
  int cores_ = 0;
  int cpus_ = 0;
  std::int64_t memory_bytes_ = 0;
  std::vector<NumaNode> nodes_;
};

Status walk_nccl(const pugi::xml_node& node, std::optional<PciAddress> bridge,
                 std::optional<int> numa, int depth, SurveyWriter& writer) {
  if (depth > kMaxDepth)
    return unsupported(writer.source(), "devices nest too deeply", std::to_string(kMaxDepth));
  for (const pugi::xml_node& item : node.children("pci")) {
    const auto address = PciAddress::parse(item.attribute("busid").value());
    if (!address)
      return malformed(writer.source(), "not a bus id", "0000:01:00.0",
                       item.attribute("busid").value());
    PciDevice& device = writer.pci_at(*address);
    device.parent = bridge;
    if (const auto code = leading_hex(item.attribute("class").value()))
      device.class_code = static_cast<std::uint16_t>(*code >> 8);
    if (const auto vendor = leading_hex(item.attribute("vendor").value()))
      device.vendor_id = static_cast<std::uint16_t>(*vendor);
    if (const auto id = leading_hex(item.attribute("device").value()))
      device.device_id = static_cast<std::uint16_t>(*id);
    // Files made for a cloud's machines leave the vendor out; a <gpu> with a gcn number is AMD's.
    if (!device.vendor_id && device.class_code == 0x0302) device.vendor_id = kVendorNvidia;
    if (!device.vendor_id && item.child("gpu").attribute("gcn")) device.vendor_id = kVendorAti;
    if (const auto speed = leading_number(item.attribute("link_speed").value()))
      device.link.generation = pcie_generation(*speed);
    if (const auto width = leading_int(item.attribute("link_width").value());
        width && *width > 0 && *width <= 32)
      device.link.width = static_cast<int>(*width);
    device.numa_node = numa;
    if (writer.survey().pci.size() > kMaxDevices)
      return unsupported(writer.source(), "too many PCI devices");
    TANDEM_TRY_STATUS(walk_nccl(item, address, numa, depth + 1, writer));
  }
  return {};
}

}  // namespace

Status read_lstopo_xml(std::string_view text, SurveyWriter& writer) {
  pugi::xml_document document;
  TANDEM_TRY_STATUS(
      parse_xml(text, writer.source(), "the whole output of lstopo --of xml", document));
  const pugi::xml_node root = document.child("topology").child("object");
  if (!root) return malformed(writer.source(), "no topology in this XML");
  const std::string board(info(root, "DMIBoardName"));
  const std::string vendor(info(root, "DMIBoardVendor"));
  for (const pugi::xml_node& holder : {root, document.child("topology")})
    if (const auto name = info(holder, "HostName"); !name.empty())
      writer.read(writer.survey().host.host_name, std::optional(std::string(name)));
  if (!board.empty() && !writer.survey().host.board)
    writer.survey().host.board = board.starts_with(vendor) ? board : vendor + " " + board;
  LstopoReader reader(writer);
  TANDEM_TRY_STATUS(reader.walk(root, std::nullopt, -1, 0));
  reader.finish();
  return {};
}

Status read_nccl_xml(std::string_view text, SurveyWriter& writer) {
  pugi::xml_document document;
  TANDEM_TRY_STATUS(parse_xml(text, writer.source(), "NCCL's whole topology XML", document));
  const pugi::xml_node system = document.child("system");
  if (!system) return malformed(writer.source(), "no system in this XML");
  Host& host = writer.survey().host.host;
  const bool new_nodes = host.numa_nodes.empty();
  for (const pugi::xml_node& cpu : system.children("cpu")) {
    std::optional<int> numa;
    if (const std::string_view hash = cpu.attribute("host_hash").value(); !hash.empty())
      writer.read(writer.survey().host.host_hash, std::optional(std::string(hash)));
    if (const auto id = leading_int(cpu.attribute("numaid").value());
        id && *id >= 0 && *id < kMaxNodes)
      numa = static_cast<int>(*id);
    if (numa && new_nodes && host.numa_nodes.size() < kMaxNodes)
      host.numa_nodes.push_back({*numa, bits_of(cpu.attribute("affinity").value()), std::nullopt});
    TANDEM_TRY_STATUS(walk_nccl(cpu, std::nullopt, numa, 0, writer));
  }
  if (writer.survey().pci.empty()) return malformed(writer.source(), "no PCI device in this XML");
  return {};
}

}  // namespace tandem
