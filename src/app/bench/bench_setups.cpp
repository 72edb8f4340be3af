#include "app/bench/bench_setups.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "app/session.h"
#include "device/cpu/host_memory.h"
#include "machine/device_list.h"
#include "plan/auto_plan.h"

namespace tandem {
namespace {

// Devices that share a stage, and stages.
struct Shape {
  std::int32_t group_size = 1;
  std::int32_t num_stages = 1;

  std::int32_t num_devices() const { return group_size * num_stages; }
  bool operator==(const Shape&) const = default;
};

std::vector<Shape> usual_shapes(std::int32_t num_devices, std::int32_t num_layers) {
  std::vector<std::int32_t> counts;
  for (std::int32_t count = 2; count < num_devices; count *= 2) counts.push_back(count);
  if (num_devices > 1) counts.push_back(num_devices);
  std::vector<Shape> shapes = {{1, 1}};
  for (const std::int32_t count : counts) {
    shapes.push_back({count, 1});
    if (count <= num_layers) shapes.push_back({1, count});
    if (count >= 4 && count % 2 == 0 && count / 2 <= num_layers) shapes.push_back({2, count / 2});
  }
  return shapes;
}

Result<Shape> shape_named(const std::string& name, std::int32_t num_devices) {
  if (name == "none") return Shape{1, 1};
  if (name == "tensor") return Shape{num_devices, 1};
  if (name == "layer") return Shape{1, num_devices};
  if (name == "hybrid" && num_devices >= 4) return Shape{2, num_devices / 2};
  Shape shape;
  char cross = 0;
  std::istringstream text(name);
  const bool is_read = static_cast<bool>(text >> shape.group_size >> cross >> shape.num_stages);
  const bool is_sound = is_read && cross == 'x' && text.peek() == EOF && shape.group_size > 0 &&
                        shape.num_stages > 0 && shape.group_size <= num_devices &&
                        shape.num_stages <= num_devices / shape.group_size;
  if (!is_sound) {
    return invalid_argument(
        "unknown entry in --plans",
        fmt::format("none, tensor, layer, hybrid (4 devices), or group x stages as in 2x2, over at "
                    "most {} devices",
                    num_devices),
        name);
  }
  return shape;
}

Result<std::vector<Shape>> shapes_of(const std::string& plans, std::int32_t num_devices,
                                     std::int32_t num_layers) {
  if (plans == "auto") return usual_shapes(num_devices, num_layers);
  std::vector<Shape> shapes = {{1, 1}};  // what all others are compared with
  std::istringstream list(plans);
  for (std::string name; std::getline(list, name, ',');) {
    TANDEM_TRY(const Shape shape, shape_named(name, num_devices));
    if (std::find(shapes.begin(), shapes.end(), shape) == shapes.end()) shapes.push_back(shape);
  }
  return shapes;
}

Result<Plan> plan_of_shape(const ModelSpec& spec, const std::vector<MachineDevice>& devices,
                           PlanRequest request, const Shape& shape) {
  const std::vector<MachineDevice> used(devices.begin(), devices.begin() + shape.num_devices());
  request.split = shape.num_devices() == 1 ? SplitMode::kNone
                  : shape.num_stages == 1  ? SplitMode::kTensor
                  : shape.group_size == 1  ? SplitMode::kLayer
                                           : SplitMode::kHybrid;
  if (shape.group_size > 1) request.group_size = shape.group_size;
  if (shape.num_stages > 1) request.num_stages = shape.num_stages;
  return choose_plan(spec, used, request);
}

// What the others are compared with, as the first of out.plans.
Result<Shape> reference_shape(const ModelSpec& spec, const std::vector<MachineDevice>& devices,
                              const PlanRequest& request, BenchPlans& out) {
  const auto most = std::min(static_cast<std::int32_t>(devices.size()), spec.num_layers);
  for (std::int32_t stages = 1;; ++stages) {
    auto plan = plan_of_shape(spec, devices, request, {1, stages});
    if (plan.ok()) {
      out.plans.push_back(*std::move(plan));
      if (stages > 1) {
        out.notes.push_back(fmt::format(
            "one device has no room for the model: speed-ups are over what the {} stages compute, "
            "one after the other",
            stages));
      }
      return Shape{1, stages};
    }
    if (plan.error().code != ErrorCode::kDoesNotFit || stages == most) return plan.error();
  }
}

}  // namespace

Result<std::vector<MachineDevice>> bench_devices(const ModelOptions& options,
                                                 const Machine& machine) {
  TANDEM_TRY(auto devices, devices_of(options, machine));
  const bool can_split = options.devices == "auto" && devices.size() == 1 &&
                         devices[0].kind == MachineDeviceKind::kCpu && devices[0].cores.size() > 1;
  if (!can_split) return devices;
  const std::vector<int>& cores = devices[0].cores;
  const auto list_of = [&](std::size_t begin, std::size_t end) {
    std::string list = "cpu:";
    for (std::size_t i = begin; i < end; ++i) {
      list += (i == begin ? "" : "+") + std::to_string(cores[i]);
    }
    return list;
  };
  const std::size_t half = cores.size() / 2;
  ModelOptions halves = options;
  halves.devices = list_of(0, half) + "," + list_of(half, 2 * half);
  return devices_of(halves, machine);
}

Result<BenchPlans> bench_plans(const ModelSpec& spec, const std::vector<MachineDevice>& devices,
                               const BenchOptions& options, std::int64_t context_tokens) {
  TANDEM_TRY(PlanRequest request, plan_request_of(options.model));
  request.context_tokens = context_tokens;
  request.max_sequences = *std::max_element(options.concurrency.begin(), options.concurrency.end());
  request.max_batch_tokens = std::max(request.max_batch_tokens, request.max_sequences);
  const auto num_devices = static_cast<std::int32_t>(devices.size());
  TANDEM_TRY(auto shapes, shapes_of(options.plans, num_devices, spec.num_layers));
  BenchPlans out;
  TANDEM_TRY(const Shape reference, reference_shape(spec, devices, request, out));
  std::erase_if(shapes, [&](const Shape& shape) {
    return shape == Shape{1, 1} || shape == reference;
  });
  for (const Shape& shape : shapes) {
    auto plan = plan_of_shape(spec, devices, request, shape);
    if (plan.ok()) {
      out.plans.push_back(*std::move(plan));
    } else if (options.plans == "auto" && plan.error().code == ErrorCode::kDoesNotFit) {
      out.notes.push_back(fmt::format("{} x {} devices left out: {}", shape.group_size,
                                      shape.num_stages, plan.error().to_string()));
    } else {
      return plan.error();
    }
  }
  return out;
}

bool fit_at_once(const std::vector<const Plan*>& plans, const std::vector<MachineDevice>& devices) {
  std::map<std::string, std::int64_t> room = {{"", available_host_memory_bytes() / 2}};  // by GPU
  for (const MachineDevice& device : devices) {
    if (device.kind != MachineDeviceKind::kGpu) continue;
    // Each part has its share of the whole.
    room[whole_device_id(device.id)] += device.memory_bytes.value_or(0) / 10 * 9;
  }
  for (const Plan* plan : plans) {
    for (const StagePlan& stage : plan->stages) {
      for (const RankPlan& rank : stage.ranks) {
        const std::string gpu = whole_device_id(rank.device);
        room[room.contains(gpu) ? gpu : ""] -= rank.total_bytes();
      }
    }
  }
  return std::ranges::all_of(room, [](const auto& left) { return left.second > 0; });
}

std::vector<double> work_fractions(const ModelSpec& spec, const Plan& plan, bool with_output) {
  const TensorSpec* output = spec.find(TensorRole::kOutput);
  if (output == nullptr) output = spec.find(TensorRole::kTokenEmbedding);
  std::vector<double> work;
  double total = 0;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      double bytes = static_cast<double>(rank.weights_bytes);
      if (!with_output && output != nullptr && rank.shard.has_output) {
        bytes -= static_cast<double>(output->size_bytes()) *
                 static_cast<double>(rank.shard.vocabulary.size()) /
                 static_cast<double>(spec.vocabulary_size);
      }
      work.push_back(std::max(bytes, 0.0));
      total += work.back();
    }
  }
  for (double& part : work)
    part = total > 0 ? part / total : 1.0 / static_cast<double>(work.size());
  return work;
}

}  // namespace tandem
