#include "plan/offload.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "plan/requested_layout.h"

namespace tandem {
namespace {

// How layout's stages share `gpu_layers`: one for each, the rest by speed. Stages that would get
// none are left out.
std::vector<std::int32_t> share_layers(LayoutRequest& layout, std::int32_t gpu_layers) {
  const auto most = static_cast<std::size_t>(gpu_layers);
  if (layout.stages.size() > most) layout.stages.resize(most);
  std::vector<double> speeds;
  for (const auto& stage : layout.stages) {
    speeds.push_back(
        std::accumulate(stage.begin(), stage.end(), 0.0,
                        [](double sum, const LayoutDevice& device) { return sum + device.speed; }));
  }
  const auto num_stages = static_cast<std::int32_t>(layout.stages.size());
  std::vector<std::int32_t> layers;
  for (const Interval& part : apportion(gpu_layers - num_stages, speeds)) {
    layers.push_back(static_cast<std::int32_t>(part.size()) + 1);
  }
  return layers;
}

// 0 < gpu_layers < all.
Result<Plan> plan_with(const ModelSpec& spec, const std::vector<MachineDevice>& gpus,
                       const MachineDevice& cpu, const PlanRequest& request,
                       std::int32_t gpu_layers) {
  TANDEM_TRY(LayoutRequest layout, requested_layout(spec, gpus, request));
  layout.layers_per_stage = share_layers(layout, gpu_layers);
  layout.layers_per_stage.insert(layout.layers_per_stage.begin(), spec.num_layers - gpu_layers);
  layout.stages.insert(layout.stages.begin(), {layout_device(cpu, 1.0)});
  return lay_out(spec, layout);
}

bool overfills(const StagePlan& stage) {
  return std::ranges::any_of(stage.ranks, [](const RankPlan& rank) {
    return rank.capacity_bytes > 0 && rank.total_bytes() > rank.capacity_bytes;
  });
}

Error does_not_fit(const Plan& plan) {
  return {ErrorCode::kDoesNotFit, plan.why_not, "plan", {}, {}};
}

Result<Plan> plan_on(const ModelSpec& spec, const MachineDevice& cpu, PlanRequest request) {
  request.shares.clear();
  request.main_device = 0;
  return choose_plan(spec, {cpu}, request);
}

// GPUs differ in speed, memory and what lies between them: what is left open is searched for.
Result<Plan> plan_on_gpus(const ModelSpec& spec, const std::vector<MachineDevice>& gpus,
                          const PlanRequest& request, const OffloadRequest& offload) {
  Machine machine;
  machine.devices = gpus;
  for (const Link& link : offload.links) {
    if (machine.find_device(link.a) != nullptr && machine.find_device(link.b) != nullptr) {
      machine.links.push_back(link);
    }
  }
  auto best = searched_plan(spec, machine, request, offload.devices_are_named, offload.engine);
  return best ? *std::move(best) : choose_plan(spec, gpus, request);
}

// As many layers on GPUs as fit. What overfills the processor now does so with more layers too.
Result<Plan> fill_gpus(const ModelSpec& spec, const std::vector<MachineDevice>& gpus,
                       const MachineDevice& cpu, const PlanRequest& request,
                       const OffloadRequest& offload) {
  auto whole = plan_on_gpus(spec, gpus, request, offload);
  if (whole.ok() || whole.error().code != ErrorCode::kDoesNotFit) return whole;
  for (std::int32_t layers = spec.num_layers - 1; layers > 0; --layers) {
    TANDEM_TRY(Plan plan, plan_with(spec, gpus, cpu, request, layers));
    if (plan.fits) return plan;
    if (overfills(plan.stages.front())) return does_not_fit(plan);
  }
  return plan_on(spec, cpu, request);
}

Result<Plan> plan_with_processor(const ModelSpec& spec, const std::vector<MachineDevice>& gpus,
                                 const MachineDevice& cpu, const PlanRequest& request,
                                 const OffloadRequest& offload) {
  const std::optional<std::int32_t> gpu_layers = offload.gpu_layers;
  if (!gpu_layers) return fill_gpus(spec, gpus, cpu, request, offload);
  if (*gpu_layers >= spec.num_layers) return plan_on_gpus(spec, gpus, request, offload);
  if (*gpu_layers <= 0) return plan_on(spec, cpu, request);
  TANDEM_TRY(Plan plan, plan_with(spec, gpus, cpu, request, *gpu_layers));
  if (!plan.fits) return does_not_fit(plan);
  return plan;
}

// GPUs and cores in one list, where the request says how they share the model. Shares alone are
// those of stages: a layer that a GPU and cores share is as slow as the cores.
std::optional<Result<Plan>> plan_as_named(const ModelSpec& spec,
                                          const std::vector<MachineDevice>& devices,
                                          PlanRequest request) {
  if (leaves_split_open(request)) return std::nullopt;
  const bool has_shares_alone = !request.split && !request.group_size && !request.num_stages;
  if (has_shares_alone) request.split = SplitMode::kLayer;
  return choose_plan(spec, devices, request);
}

}  // namespace

Result<Plan> choose_placed_plan(const ModelSpec& spec, const std::vector<MachineDevice>& devices,
                                const MachineDevice& processor, const PlanRequest& request,
                                const OffloadRequest& offload) {
  std::vector<MachineDevice> gpus, cpus;
  for (const MachineDevice& device : devices) {
    (device.kind == MachineDeviceKind::kGpu ? gpus : cpus).push_back(device);
  }
  if (gpus.empty()) return choose_plan(spec, devices, request);
  if (offload.devices_are_named && !offload.gpu_layers) {
    if (cpus.empty()) return plan_on_gpus(spec, gpus, request, offload);
    if (auto as_named = plan_as_named(spec, devices, request)) return *std::move(as_named);
  }
  if (cpus.size() > 1) {
    return invalid_argument("layers that GPUs do not hold go to one device of cores",
                            "one beside the GPUs, or --split, --tp or --pp",
                            std::to_string(cpus.size()));
  }
  return plan_with_processor(spec, gpus, cpus.empty() ? processor : cpus.front(), request, offload);
}

std::int32_t num_layers_on(const Plan& plan, const std::vector<MachineDevice>& devices,
                           MachineDeviceKind kind) {
  std::int32_t layers = 0;
  for (const StagePlan& stage : plan.stages) {
    const auto device = std::ranges::find(devices, stage.ranks.front().device, &MachineDevice::id);
    if (device != devices.end() && device->kind == kind) layers += stage.num_layers;
  }
  return layers;
}

}  // namespace tandem
