#include "plan/machine_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/units.h"
#include "machine/gpu_catalogue.h"
#include "plan/device_rates.h"
#include "plan/links.h"

namespace tandem {
namespace {

// A desktop with two channels of DDR5-5600 reads about two thirds of its 89.6 GB/s.
constexpr double kAssumedHostBandwidth = 60;
constexpr std::int64_t kAssumedHostMemory = 64 * kGiB;
constexpr int kAssumedHostCores = 8;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

struct Counted {
  int count = 1;
  std::string name;
};

// "2x RTX 3090", "2 x RTX 3090", "RTX 3090".
Result<Counted> read_counted(std::string_view text) {
  Counted out;
  std::string_view rest = trimmed(text);
  std::size_t digits = 0;
  while (digits < rest.size() && (std::isdigit(static_cast<unsigned char>(rest[digits])) ||
                                  (digits == 0 && rest[0] == '-'))) {
    ++digits;
  }
  std::string_view after = trimmed(rest.substr(digits));
  const bool counted =
      digits > 0 && after.size() > 1 && (after[0] == 'x' || after[0] == 'X' || after[0] == '*');
  if (counted) {
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + digits, out.count);
    if (error != std::errc() || out.count < 1 || out.count > kMaxWrittenGpus) {
      return invalid_argument("impossible number of GPUs", fmt::format("1 to {}", kMaxWrittenGpus),
                              std::string(rest.substr(0, digits)));
    }
    (void)end;
    rest = trimmed(after.substr(1));
  }
  out.name = std::string(rest);
  if (out.name.empty()) return invalid_argument("a GPU without a name", "such as \"2x RTX 3090\"");
  return out;
}

// The size that the name itself states ("RTX 3080 12GB"), else the largest that was sold.
std::int64_t memory_of(const GpuModel& model, std::string_view name) {
  std::int64_t best = 0;
  for (const std::int64_t bytes : model.memory_bytes) {
    best = std::max(best, bytes);
    const std::string said = fmt::format("{}GB", bytes / kGiB);
    if (name.find(said) != std::string_view::npos) return bytes;
  }
  return best;
}

bool has_nvlink_inside(const GpuModel& model) {
  if (!model.nvlink_gbps) return false;
  for (const char* mark : {"SXM", "B200", "H200", "GB200"}) {
    if (model.name.find(mark) != std::string::npos) return true;
  }
  return false;
}

Status add_gpus(Machine& machine, std::vector<const GpuModel*>& models, const Counted& counted) {
  const GpuModel* model = find_gpu_model(counted.name);
  if (model == nullptr) {
    return Error{ErrorCode::kNotFound,
                 "unknown GPU; the nearest names are " + nearest_gpu_names(counted.name),
                 "--gpu",
                 {},
                 counted.name};
  }
  for (int i = 0; i < counted.count; ++i) {
    if (static_cast<int>(models.size()) >= kMaxWrittenGpus) {
      return invalid_argument("too many GPUs in one machine",
                              fmt::format("at most {}", kMaxWrittenGpus));
    }
    MachineDevice device;
    device.id = fmt::format("cuda:{}", models.size());
    device.kind = MachineDeviceKind::kGpu;
    device.name = model->name;
    device.memory_bytes = memory_of(*model, counted.name);
    device.bandwidth_gbps = model->bandwidth_gbps;
    device.power_limit_w = model->power_w;
    device.pcie.max_generation = device.pcie.generation = model->pcie_generation;
    device.pcie.max_width = device.pcie.width = model->pcie_width;
    machine.devices.push_back(std::move(device));
    models.push_back(model);
  }
  return {};
}

Status add_links(Machine& machine, const std::vector<const GpuModel*>& models,
                 const std::string& name) {
  const LinkSpec* spec = nullptr;
  if (!name.empty()) {
    TANDEM_TRY(spec, find_link_spec(name));
  }
  const bool nvlink = name.starts_with("nvlink") || name == "xgmi";
  for (const GpuModel* model : models) {
    const bool has_it = name == "xgmi"
                            ? model->vendor == "AMD"
                            : model->vendor == "NVIDIA" && model->nvlink_gbps.has_value();
    if (nvlink && !has_it) {
      return invalid_argument("a link that this card does not have", "a pcie link",
                              model->name + " with " + name);
    }
  }
  for (std::size_t a = 0; a < models.size(); ++a) {
    for (std::size_t b = a + 1; b < models.size(); ++b) {
      Link link{machine.devices[a].id, machine.devices[b].id, LinkKind::kPcieHost, {}, {}, {}};
      const bool inside =
          spec == nullptr && has_nvlink_inside(*models[a]) && has_nvlink_inside(*models[b]);
      if (nvlink || inside) {
        link.kind = LinkKind::kNvlink;
        link.peer_access = true;
      } else {
        link.peer_access =
            models[a]->peer_over_pcie.value_or(false) && models[b]->peer_over_pcie.value_or(false);
      }
      if (spec != nullptr) {
        link.bandwidth_gbps = spec->bandwidth_gbps;
        link.latency_us = spec->latency_us;
      } else if (inside) {
        // The makers print both directions of all links; nccl-tests reach eight tenths.
        link.bandwidth_gbps = *models[a]->nvlink_gbps / 2 * 0.8;
        link.latency_us = 5;
      }
      machine.links.push_back(std::move(link));
    }
  }
  return {};
}

}  // namespace

Result<Machine> machine_from_text(const WrittenMachine& written) {
  Machine machine;
  std::vector<const GpuModel*> models;
  for (const std::string& entry : written.gpus) {
    std::string_view rest = entry;
    while (true) {
      // Names hold no " + ".
      const std::size_t plus = rest.find(" + ");
      TANDEM_TRY(const Counted counted, read_counted(rest.substr(0, plus)));
      TANDEM_TRY_STATUS(add_gpus(machine, models, counted));
      if (plus == std::string_view::npos) break;
      rest.remove_prefix(plus + 3);
    }
  }
  if (models.empty()) return invalid_argument("no GPU named", "such as --gpu \"2x RTX 3090\"");
  TANDEM_TRY_STATUS(add_links(machine, models, written.link));
  if (written.with_host) {
    MachineDevice host;
    host.id = "cpu";
    host.name = "host, assumed: 8 cores, 64 GiB, 60 GB/s";
    host.memory_bytes = kAssumedHostMemory;
    host.bandwidth_gbps = kAssumedHostBandwidth;
    for (int i = 0; i < kAssumedHostCores; ++i) host.cores.push_back(i);
    machine.devices.push_back(std::move(host));
  }
  machine.host.memory_bytes = kAssumedHostMemory;
  return machine;
}

}  // namespace tandem
