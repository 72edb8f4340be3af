#include "plan/auto_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/checked.h"
#include "base/units.h"
#include "plan/requested_layout.h"
#include "plan/search.h"

namespace tandem {
namespace {

// What a CUDA context with cuBLAS, and fragmentation, take of a GPU before the first tensor: 300 to
// 500 MiB as nvidia-smi shows it for an idle process on Ampere to Hopper.
constexpr std::int64_t kGpuReserveBytes = 512 * kMiB;

std::vector<LayoutDevice> layout_devices(const std::vector<MachineDevice>& devices,
                                         const PlanRequest& request) {
  const std::vector<double> speeds =
      request.shares.empty() ? relative_speeds(devices) : request.shares;
  std::vector<LayoutDevice> out;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (speeds[i] == 0.0) continue;  // a share of zero leaves the device out
    out.push_back(layout_device(devices[i], speeds[i]));
  }
  return out;
}

Status check_request(const std::vector<MachineDevice>& devices, const PlanRequest& request) {
  const std::size_t count = devices.size();
  if (count == 0) return invalid_argument("no devices to plan for");
  if (!request.shares.empty() && request.shares.size() != count) {
    return invalid_argument("-ts needs one share for each device", std::to_string(count),
                            std::to_string(request.shares.size()));
  }
  const std::int64_t tp = request.group_size.value_or(1);
  const std::int64_t pp = request.num_stages.value_or(1);
  const auto num_devices = static_cast<std::int64_t>(count);
  if (tp < 1 || pp < 1) return invalid_argument("--tp and --pp must be at least 1");
  if (tp > num_devices || pp > num_devices || tp * pp > num_devices) {
    return invalid_argument("--tp times --pp needs more devices than there are",
                            fmt::format("at most {}", count), std::to_string(tp * pp));
  }
  if (request.main_device < 0 || request.main_device >= num_devices) {
    return invalid_argument("-mg names no device", fmt::format("0 to {}", count - 1),
                            std::to_string(request.main_device));
  }
  if (request.context_tokens && *request.context_tokens < 0) {
    return invalid_argument("-c must not be negative", {}, std::to_string(*request.context_tokens));
  }
  return {};
}

// Consecutive devices, `group_size` to a stage; the last stage takes what is left.
std::vector<std::vector<LayoutDevice>> grouped(const std::vector<LayoutDevice>& devices,
                                               std::size_t group_size) {
  std::vector<std::vector<LayoutDevice>> stages;
  for (std::size_t i = 0; i < devices.size(); i += group_size) {
    const std::size_t end = std::min(i + group_size, devices.size());
    stages.emplace_back(devices.begin() + static_cast<std::ptrdiff_t>(i),
                        devices.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return stages;
}

Error contradiction(SplitMode mode, const std::string& flag) {
  return invalid_argument(fmt::format("--split {} contradicts {}", name_of(mode), flag));
}

Status check_split(const PlanRequest& request) {
  if (!request.split) return {};
  const std::int32_t tp = request.group_size.value_or(0);
  const std::int32_t pp = request.num_stages.value_or(0);
  const SplitMode mode = *request.split;
  if (mode != SplitMode::kTensor && mode != SplitMode::kHybrid && tp > 1) {
    return contradiction(mode, fmt::format("--tp {}", tp));
  }
  if (mode != SplitMode::kLayer && mode != SplitMode::kHybrid && pp > 1) {
    return contradiction(mode, fmt::format("--pp {}", pp));
  }
  if (mode == SplitMode::kTensor && tp == 1) return contradiction(mode, "--tp 1");
  if (mode == SplitMode::kLayer && pp == 1) return contradiction(mode, "--pp 1");
  return {};
}

// The stages that the request fixes, or all devices as one group where it leaves them open.
Result<std::vector<std::vector<LayoutDevice>>> requested_stages(const ModelSpec& spec,
                                                                std::vector<LayoutDevice> devices,
                                                                const PlanRequest& request) {
  const std::size_t count = devices.size();
  const std::size_t layers = static_cast<std::size_t>(spec.num_layers);
  if (request.split == SplitMode::kNone) {
    return std::vector<std::vector<LayoutDevice>>{
        {devices[static_cast<std::size_t>(request.main_device) % count]}};
  }
  if (request.group_size && request.num_stages) {
    devices.resize(std::min<std::size_t>(
        count, static_cast<std::size_t>(*request.group_size * *request.num_stages)));
    return grouped(devices, static_cast<std::size_t>(*request.group_size));
  }
  if (request.split == SplitMode::kTensor && request.group_size) {
    devices.resize(std::min(count, static_cast<std::size_t>(*request.group_size)));
    return grouped(devices, devices.size());
  }
  if (request.group_size) return grouped(devices, static_cast<std::size_t>(*request.group_size));
  if (request.num_stages && request.split == SplitMode::kLayer) {
    devices.resize(std::min(count, static_cast<std::size_t>(*request.num_stages)));
    return grouped(devices, 1);
  }
  if (request.num_stages) {
    return grouped(devices, ceil_div(count, static_cast<std::size_t>(*request.num_stages)));
  }
  if (request.split == SplitMode::kLayer) {
    if (count > layers) devices.resize(layers);
    return grouped(devices, 1);
  }
  if (request.split == SplitMode::kHybrid) {
    if (count < 3) {
      return invalid_argument("--split hybrid needs at least three devices", {},
                              std::to_string(count));
    }
    return grouped(devices, 2);
  }
  return grouped(devices, count);
}

std::int64_t context_of(const ModelSpec& spec, const PlanRequest& request) {
  const std::int64_t trained =
      spec.context_tokens > 0 ? spec.context_tokens : kDefaultContextTokens;
  if (!request.context_tokens) return std::min(trained, kDefaultContextTokens);
  return *request.context_tokens == 0 ? trained : *request.context_tokens;
}

// What would make the plan fit, each tried out: less context, a smaller KV type.
std::string advice_for(const ModelSpec& spec, LayoutRequest layout) {
  const auto fits = [&](const LayoutRequest& candidate) {
    const auto plan = lay_out(spec, candidate);
    return plan.ok() && plan->fits;
  };
  LayoutRequest smaller = layout;
  for (std::int64_t context = layout.context_tokens / 2; context >= 256; context /= 2) {
    smaller.context_tokens = context;
    if (fits(smaller)) return fmt::format("it fits with -c {}", context);
  }
  smaller = layout;
  smaller.kv_type = ElementType::kQ8_0;
  if (layout.kv_type != ElementType::kQ8_0 && fits(smaller)) {
    return "it fits with -ctk q8_0 -ctv q8_0";
  }
  return "use more devices, a smaller quantisation or a smaller model";
}

}  // namespace

bool leaves_split_open(const PlanRequest& request) {
  return !request.split && !request.group_size && !request.num_stages && request.shares.empty();
}

std::optional<Plan> searched_plan(const ModelSpec& spec, const Machine& machine,
                                  const PlanRequest& request, bool use_all_devices,
                                  const EngineProfile* measured) {
  const auto usual = find_engine("tandem");
  if (!leaves_split_open(request) || !usual.ok()) return std::nullopt;
  SearchRequest search;
  search.plan = request;
  search.workload.concurrency = request.max_sequences;
  search.use_all_devices = use_all_devices;
  auto found = search_plans(spec, machine, measured != nullptr ? *measured : **usual, search);
  if (!found.ok() || found->plans.empty() || !found->plans.front().fits) return std::nullopt;
  return std::move(found->plans.front());
}

// Devices of cores pass hidden states through memory in a microsecond and multiply some tens of
// rows as fast as hundreds: small micro-batches fill and drain the stages soon, and every stage can
// take a part of the output matrix. GPUs multiply up to 128 rows with the kernel of decode steps,
// which reads x again for every 32 rows of the weight and so takes 1.6 to 2 times as long a row as
// the tiles of prefills; 256 rows of those fill the multiprocessors of a large GPU once
// (docs/adr/matrix-products-on-gpus.md).
void tune_micro_batches(const std::vector<MachineDevice>& devices, LayoutRequest& layout) {
  constexpr std::int32_t kTokensOnCores = 48;
  constexpr std::int32_t kTokensOnGpus = 256;
  const bool all_cores = std::ranges::all_of(
      devices, [](const MachineDevice& device) { return device.kind == MachineDeviceKind::kCpu; });
  layout.micro_batch_tokens = all_cores ? kTokensOnCores : kTokensOnGpus;
  layout.output_on_all_stages = all_cores;
}

std::vector<double> relative_speeds(const std::vector<MachineDevice>& devices) {
  const auto all = [&](auto&& holds) { return std::all_of(devices.begin(), devices.end(), holds); };
  std::vector<double> speeds(devices.size(), 1.0);
  if (all([](const MachineDevice& device) { return device.bandwidth_gbps.value_or(0) > 0; })) {
    for (std::size_t i = 0; i < devices.size(); ++i) speeds[i] = *devices[i].bandwidth_gbps;
  } else if (all([](const MachineDevice& device) { return !device.cores.empty(); })) {
    for (std::size_t i = 0; i < devices.size(); ++i) {
      speeds[i] = static_cast<double>(devices[i].cores.size());
    }
  }
  return speeds;
}

std::int64_t usable_bytes(const MachineDevice& device) {
  if (!device.memory_bytes) return 0;
  const std::int64_t reserve = device.kind == MachineDeviceKind::kGpu ? kGpuReserveBytes : 0;
  return std::max<std::int64_t>(1, *device.memory_bytes - reserve);
}

LayoutDevice layout_device(const MachineDevice& device, double speed) {
  return {device.id, speed, usable_bytes(device)};
}

Result<LayoutRequest> requested_layout(const ModelSpec& spec,
                                       const std::vector<MachineDevice>& devices,
                                       const PlanRequest& request) {
  TANDEM_TRY_STATUS(check_request(devices, request));
  TANDEM_TRY_STATUS(check_split(request));
  std::vector<LayoutDevice> usable = layout_devices(devices, request);
  if (usable.empty()) return invalid_argument("-ts leaves no device with a share above zero");
  LayoutRequest layout;
  TANDEM_TRY(layout.stages, requested_stages(spec, std::move(usable), request));
  layout.context_tokens = context_of(spec, request);
  layout.max_sequences = request.max_sequences;
  layout.max_batch_tokens = request.max_batch_tokens;
  layout.max_output_rows = request.max_output_rows;
  layout.kv_type = request.kv_type;
  layout.split_by_expert = request.split_by_expert;
  tune_micro_batches(devices, layout);
  return layout;
}

Result<Plan> choose_plan(const ModelSpec& spec, const std::vector<MachineDevice>& devices,
                         const PlanRequest& request) {
  TANDEM_TRY(const LayoutRequest layout, requested_layout(spec, devices, request));
  TANDEM_TRY(Plan plan, lay_out(spec, layout));
  if (plan.fits) return plan;
  // Shares that follow speed alone may overfill a small device: the search knows better ones, or
  // does without it.
  Machine machine;
  machine.devices = devices;
  if (auto searched = searched_plan(spec, machine, request, false)) return *std::move(searched);
  return Error{
      ErrorCode::kDoesNotFit, plan.why_not + "; " + advice_for(spec, layout), "plan", {}, {}};
}

}  // namespace tandem
