#include "machine/machine_json.h"

#include <nlohmann/json.hpp>
#include <set>

#include "machine/core_list.h"
#include "machine/json_reader.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json cores_to_json(const std::vector<int>& cores) {
  return cores.empty() ? Json(nullptr) : Json(format_core_list(cores, '+'));
}

Json products_to_json(const std::optional<ProductRates>& products) {
  if (!products) return nullptr;
  return {{"int8_gops", products->int8_gops},
          {"bf16_gflops", products->bf16_gflops},
          {"float_gflops", products->float_gflops}};
}

Json host_to_json(const Host& host) {
  Json nodes = Json::array();
  for (const NumaNode& node : host.numa_nodes)
    nodes.push_back({{"index", node.index},
                     {"cores", cores_to_json(node.cores)},
                     {"memory_bytes", or_null(node.memory_bytes)}});
  const Json count =
      host.numa_nodes.empty() ? Json(nullptr) : Json(static_cast<int>(host.numa_nodes.size()));
  return {{"cpu", or_null(host.cpu)},
          {"cores", or_null(host.cores)},
          {"memory_bytes", or_null(host.memory_bytes)},
          {"numa_nodes", count},
          {"numa", nodes},
          {"logical_cpus", or_null(host.logical_cpus)},
          {"sockets", or_null(host.sockets)},
          {"cpu_quota", or_null(host.cpu_quota)},
          {"bandwidth_gbps", or_null(host.bandwidth_gbps)}};
}

Result<std::vector<int>> read_cores(JsonReader& reader) {
  const auto text = reader.get<std::string>("cores");
  if (!text) return std::vector<int>{};
  auto cores = parse_core_list(*text, '+');
  if (!cores.ok()) return cores.error().at(reader.where() + ".cores");
  return cores;
}

Result<MachineDevice> read_device(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  MachineDevice device;
  device.id = reader.get<std::string>("id").value_or("");
  if (device.id.empty()) reader.fail("id", "a device id such as cuda:0");
  const auto kind = reader.get<std::string>("kind");
  if (kind == "gpu") device.kind = MachineDeviceKind::kGpu;
  if (kind != "gpu" && kind != "cpu") reader.fail("kind", "gpu or cpu");
  device.name = reader.get<std::string>("name").value_or("");
  device.memory_bytes = reader.get<std::int64_t>("memory_bytes");
  device.bandwidth_gbps = reader.get<double>("bandwidth_gbps");
  device.numa_node = reader.get<int>("numa_node");
  device.power_limit_w = reader.get<double>("power_limit_w");
  device.pci_address = reader.get<std::string>("pci_address");
  if (const Json* pcie = reader.find("pcie")) {
    JsonReader link(*pcie, where + ".pcie");
    device.pcie = {link.get<int>("generation"), link.get<int>("width"),
                   link.get<int>("max_generation"), link.get<int>("max_width")};
    TANDEM_TRY_STATUS(link.status());
  }
  if (const Json* products = reader.find("products"); products != nullptr) {
    JsonReader rates(*products, where + ".products");
    device.products = ProductRates{rates.get<double>("int8_gops").value_or(0),
                                   rates.get<double>("bf16_gflops").value_or(0),
                                   rates.get<double>("float_gflops").value_or(0)};
    TANDEM_TRY_STATUS(rates.status());
  }
  TANDEM_TRY(device.cores, read_cores(reader));
  TANDEM_TRY_STATUS(reader.status());
  return device;
}

Result<Link> read_link(const Json& json, const std::string& where, const Machine& machine) {
  JsonReader reader(json, where);
  Link link;
  link.a = reader.get<std::string>("a").value_or("");
  link.b = reader.get<std::string>("b").value_or("");
  if (machine.find_device(link.a) == nullptr) reader.fail("a", "the id of a device above");
  if (machine.find_device(link.b) == nullptr) reader.fail("b", "the id of a device above");
  if (const auto kind = reader.get<std::string>("kind")) {
    const auto known = link_kind_named(*kind);
    if (!known) reader.fail("kind", "nvlink, pcie-switch, pcie-host, pcie-node or sockets");
    link.kind = known.value_or(LinkKind::kUnknown);
  }
  link.bandwidth_gbps = reader.get<double>("bandwidth_gbps");
  link.latency_us = reader.get<double>("latency_us");
  link.peer_access = reader.get<bool>("peer_access");
  TANDEM_TRY_STATUS(reader.status());
  return link;
}

Result<Host> read_host(const Json& json) {
  JsonReader reader(json, "host");
  Host host;
  host.cpu = reader.get<std::string>("cpu");
  host.cores = reader.get<int>("cores");
  host.memory_bytes = reader.get<std::int64_t>("memory_bytes");
  host.logical_cpus = reader.get<int>("logical_cpus");
  host.sockets = reader.get<int>("sockets");
  host.cpu_quota = reader.get<double>("cpu_quota");
  host.bandwidth_gbps = reader.get<double>("bandwidth_gbps");
  const auto count = reader.get<int>("numa_nodes");
  if (const Json* nodes = reader.array("numa")) {
    for (std::size_t i = 0; i < nodes->size(); ++i) {
      JsonReader item((*nodes)[i], "host.numa[" + std::to_string(i) + "]");
      NumaNode node;
      node.index = item.get<int>("index").value_or(static_cast<int>(i));
      node.memory_bytes = item.get<std::int64_t>("memory_bytes");
      TANDEM_TRY(node.cores, read_cores(item));
      TANDEM_TRY_STATUS(item.status());
      host.numa_nodes.push_back(std::move(node));
    }
  } else if (count) {
    if (*count < 0 || *count > 4096) reader.fail("numa_nodes", "0 to 4096");
    TANDEM_TRY_STATUS(reader.status());
    for (int i = 0; i < *count; ++i) host.numa_nodes.push_back({i, {}, std::nullopt});
  }
  TANDEM_TRY_STATUS(reader.status());
  return host;
}

}  // namespace

Json device_to_json(const MachineDevice& device) {
  return {{"id", device.id},
          {"kind", name_of(device.kind)},
          {"name", device.name},
          {"memory_bytes", or_null(device.memory_bytes)},
          {"bandwidth_gbps", or_null(device.bandwidth_gbps)},
          {"pcie",
           {{"generation", or_null(device.pcie.generation)},
            {"width", or_null(device.pcie.width)},
            {"max_generation", or_null(device.pcie.max_generation)},
            {"max_width", or_null(device.pcie.max_width)}}},
          {"numa_node", or_null(device.numa_node)},
          {"power_limit_w", or_null(device.power_limit_w)},
          {"products", products_to_json(device.products)},
          {"cores", cores_to_json(device.cores)},
          {"pci_address", or_null(device.pci_address)}};
}

Json link_to_json(const Link& link) {
  return {{"a", link.a},
          {"b", link.b},
          {"kind", name_of(link.kind)},
          {"bandwidth_gbps", or_null(link.bandwidth_gbps)},
          {"latency_us", or_null(link.latency_us)},
          {"peer_access", or_null(link.peer_access)}};
}

Json machine_to_json(const Machine& machine) {
  Json devices = Json::array();
  for (const MachineDevice& device : machine.devices) devices.push_back(device_to_json(device));
  Json links = Json::array();
  for (const Link& link : machine.links) links.push_back(link_to_json(link));
  return {{"devices", std::move(devices)},
          {"links", std::move(links)},
          {"host", host_to_json(machine.host)}};
}

Result<Machine> machine_from_json(const Json& json) {
  JsonReader reader(json, "machine");
  Machine machine;
  if (const Json* devices = reader.array("devices")) {
    std::set<std::string> ids;
    for (std::size_t i = 0; i < devices->size(); ++i) {
      const std::string where = "devices[" + std::to_string(i) + "]";
      TANDEM_TRY(MachineDevice device, read_device((*devices)[i], where));
      if (!ids.insert(device.id).second)
        return malformed(where + ".id", "an id is given twice", "each id once", device.id);
      machine.devices.push_back(std::move(device));
    }
  }
  if (const Json* links = reader.array("links")) {
    for (std::size_t i = 0; i < links->size(); ++i) {
      TANDEM_TRY(Link link, read_link((*links)[i], "links[" + std::to_string(i) + "]", machine));
      machine.links.push_back(std::move(link));
    }
  }
  if (const Json* host = reader.find("host")) {
    TANDEM_TRY(machine.host, read_host(*host));
  }
  TANDEM_TRY_STATUS(reader.status());
  return machine;
}

}  // namespace tandem
