#include "machine/sources/host_text.h"

#include <algorithm>
#include <set>

#include "machine/core_list.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::int64_t kMaxCpus = 65536;

// "model name\t: AMD ..." -> name and value.
std::pair<std::string_view, std::string_view> name_and_value(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return {trim(line), {}};
  return {trim(line.substr(0, colon)), trim(line.substr(colon + 1))};
}

void learn_cpu(std::string_view model, SurveyWriter& writer) {
  if (!model.empty() && !writer.survey().host.host.cpu)
    writer.survey().host.host.cpu = std::string(model);
}

NumaNode& node_numbered(int index, Host& host) {
  for (NumaNode& node : host.numa_nodes)
    if (node.index == index) return node;
  host.numa_nodes.push_back({index, {}, std::nullopt});
  return host.numa_nodes.back();
}

}  // namespace

Status read_cpuinfo(std::string_view text, SurveyWriter& writer) {
  Host& host = writer.survey().host.host;
  int processors = 0;
  std::set<std::string> packages;
  std::set<std::pair<std::string, std::string>> cores;
  std::string package;
  for (std::string_view line : split_lines(text)) {
    const auto [name, value] = name_and_value(line);
    if (name == "processor" && leading_int(value)) ++processors;
    if (name == "model name" || (name == "cpu" && contains(value, "POWER")))
      learn_cpu(value, writer);
    if (name == "physical id") packages.insert(package = value);
    if (name == "core id") cores.emplace(package, value);
    if (name == "flags" && contains(value, " hypervisor") && !writer.survey().host.virtualisation)
      writer.survey().host.virtualisation = "a virtual machine";
  }
  if (processors == 0) return malformed(writer.source(), "no processor in this file");
  writer.learn(host.logical_cpus, std::optional(processors), "host", "logical CPUs");
  if (!cores.empty())
    writer.learn(host.cores, std::optional(static_cast<int>(cores.size())), "host", "cores");
  if (!packages.empty())
    writer.learn(host.sockets, std::optional(static_cast<int>(packages.size())), "host", "sockets");
  return {};
}

Status read_meminfo(std::string_view text, SurveyWriter& writer) {
  bool any = false;
  for (std::string_view line : split_lines(text)) {
    const auto [name, value] = name_and_value(line);
    const auto kib = leading_int(value);
    if (!kib || *kib < 0 || *kib > (std::int64_t{1} << 50)) continue;
    any = any || name == "MemTotal";
    if (name == "MemTotal")
      writer.read(writer.survey().host.host.memory_bytes, std::optional(*kib * 1024));
    if (name == "MemAvailable")
      writer.read(writer.survey().host.memory_available_bytes, std::optional(*kib * 1024));
  }
  if (!any) return malformed(writer.source(), "no MemTotal in this file");
  return {};
}

Status read_lscpu(std::string_view text, SurveyWriter& writer) {
  Host& host = writer.survey().host.host;
  std::optional<std::int64_t> per_socket;
  std::optional<std::int64_t> sockets;
  const bool new_nodes = host.numa_nodes.empty();
  for (std::string_view line : split_lines(text)) {
    const auto [name, value] = name_and_value(line);
    if (name == "Model name") learn_cpu(value, writer);
    if (name == "CPU(s)")
      writer.learn(host.logical_cpus, leading_int(value), "host", "logical CPUs");
    if (name == "Core(s) per socket") per_socket = leading_int(value);
    if (name == "Socket(s)") sockets = leading_int(value);
    if (name == "Hypervisor vendor" && !writer.survey().host.virtualisation)
      writer.survey().host.virtualisation = std::string(value);
    if (new_nodes && name.starts_with("NUMA node") && name.ends_with("CPU(s)")) {
      const auto index = leading_int(name.substr(9));
      auto cores = parse_core_list(value, ',');
      if (index && *index >= 0 && *index < 4096 && cores.ok())
        node_numbered(static_cast<int>(*index), host).cores = *std::move(cores);
    }
  }
  const auto sane = [](std::optional<std::int64_t> n) { return n && *n > 0 && *n <= kMaxCpus; };
  if (sane(sockets)) writer.learn(host.sockets, sockets, "host", "sockets");
  if (sane(sockets) && sane(per_socket))
    writer.learn(host.cores, std::optional(*sockets * *per_socket), "host", "cores");
  if (!host.cpu && !host.logical_cpus)
    return malformed(writer.source(), "nothing known in this output of lscpu");
  return {};
}

Status read_lscpu_table(std::string_view text, SurveyWriter& writer) {
  Host& host = writer.survey().host.host;
  const bool new_nodes = host.numa_nodes.empty();
  std::set<std::int64_t> cores;
  std::int64_t rows = 0;
  for (std::string_view line : split_lines(text)) {
    const auto words = split_words(line);  // CPU NODE SOCKET CORE ...
    if (words.size() < 4) continue;
    const auto cpu = leading_int(words[0]);
    const auto node = leading_int(words[1]);
    const auto core = leading_int(words[3]);
    if (!cpu || !node || !core || *cpu < 0 || *cpu >= kMaxCpus || *node < 0 || *node >= 4096)
      continue;
    ++rows;
    cores.insert(*core);
    if (new_nodes)
      node_numbered(static_cast<int>(*node), host).cores.push_back(static_cast<int>(*cpu));
  }
  if (rows == 0) return malformed(writer.source(), "no CPU in this table");
  writer.learn(host.logical_cpus, std::optional(rows), "host", "logical CPUs");
  writer.learn(host.cores, std::optional(cores.size()), "host", "cores");
  return {};
}

Status read_numactl(std::string_view text, SurveyWriter& writer) {
  Host& host = writer.survey().host.host;
  bool any = false;
  for (std::string_view line : split_lines(text)) {
    if (!line.starts_with("node ")) continue;
    const auto index = leading_int(line.substr(5));
    if (!index || *index < 0 || *index >= 4096) continue;
    const auto words = split_words(line);
    if (words.size() < 3) continue;
    if (words[2] == "size:" && words.size() >= 4) {
      const auto mib = leading_int(words[3]);
      if (mib && *mib > 0 && *mib < (std::int64_t{1} << 40))
        node_numbered(static_cast<int>(*index), host).memory_bytes = *mib << 20;
      any = true;
    }
    if (words[2] == "cpus:") {
      NumaNode& node = node_numbered(static_cast<int>(*index), host);
      any = true;
      if (!node.cores.empty()) continue;
      for (std::size_t i = 3; i < words.size(); ++i)
        if (const auto cpu = leading_int(words[i]); cpu && *cpu >= 0 && *cpu < kMaxCpus)
          node.cores.push_back(static_cast<int>(*cpu));
    }
  }
  if (!any) return malformed(writer.source(), "no NUMA node in this output");
  return {};
}

void read_kernel_command_line(std::string_view text, SurveyWriter& writer) {
  HostFacts& host = writer.survey().host;
  if (!host.kernel_command_line) host.kernel_command_line = std::string(trim(text));
  const bool on = contains(text, "intel_iommu=on") || contains(text, "amd_iommu=on") ||
                  contains(text, "iommu=force");
  const bool passes = contains(text, "iommu=pt") || contains(text, "iommu.passthrough=1");
  const bool off = contains(text, "iommu=off");
  if (off || passes)
    host.iommu_translates = false;
  else if (on || contains(text, "iommu.passthrough=0"))
    host.iommu_translates = true;
}

void read_nvidia_version(std::string_view text, SurveyWriter& writer) {
  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 ..."
  for (std::string_view line : split_lines(text)) {
    if (!line.starts_with("NVRM version:")) continue;
    for (std::string_view word : split_words(line)) {
      if (std::count(word.begin(), word.end(), '.') < 1 || !leading_int(word)) continue;
      writer.learn(writer.survey().host.driver_version, std::optional(std::string(word)), "host",
                   "driver version");
      return;
    }
  }
}

// "NvLinkDisable: 0", "RegistryDwords: \"ForceP2P=0x11\"".
void read_driver_params(std::string_view text, SurveyWriter& writer) {
  constexpr std::size_t kMaxParams = 200;
  auto& params = writer.survey().host.driver_params;
  for (std::string_view line : split_lines(text)) {
    const auto [name, quoted] = name_and_value(line);
    std::string_view value = quoted;
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    if (!name.empty() && params.size() < kMaxParams)
      params.emplace(std::string(name.substr(0, 100)), std::string(value.substr(0, 500)));
  }
}

Status read_kernel_log(std::string_view text, SurveyWriter& writer) {
  HostFacts& host = writer.survey().host;
  constexpr std::size_t kMaxFaults = 100;
  bool known = false;
  for (std::string_view line : split_lines(text)) {
    known = known || contains(line, "NVRM") || line.starts_with('[');
    if (const auto report = between(line, "NVRM: Xid (PCI:", "")) {
      // "0000:9b:00): 119, pid=..." or "0000:9b:00.0): ..."
      std::string place(report->substr(0, std::min(report->find(')'), std::size_t{20})));
      if (!contains(place, ".")) place += ".0";
      const std::size_t code_at = report->find("): ");
      const auto code = code_at == std::string_view::npos
                            ? std::nullopt
                            : leading_int(report->substr(code_at + 3));
      if (!code || *code < 0 || *code > 1000) continue;
      const auto address = PciAddress::parse(place);
      const auto same = std::find_if(host.xids.begin(), host.xids.end(), [&](const XidReport& x) {
        return x.code == *code && x.address == address;
      });
      if (same != host.xids.end())
        ++same->count;
      else if (host.xids.size() < kMaxFaults)
        host.xids.push_back(
            {address, static_cast<int>(*code), 1, std::string(trim(line.substr(0, 240)))});
    } else if ((contains(line, "[ERROR]") && contains(line, "NVSwitch")) ||
               contains(line, "API mismatch:") ||
               (contains(line, "AER:") && contains(line, "Uncorrected"))) {
      if (host.log_faults.size() < kMaxFaults)
        host.log_faults.emplace_back(trim(line.substr(0, 240)));
    }
  }
  if (!known) return malformed(writer.source(), "not a kernel log");
  return {};
}

}  // namespace tandem
