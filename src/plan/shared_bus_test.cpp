// Processors that read one memory: what they reach together bounds a tensor group, and a pipeline
// only when its stages work at the same time.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/planned_models.h"
#include "plan/time_model.h"

namespace tandem {
namespace {

constexpr double kAlone = 40;

Machine two_cores(double together) {
  Machine machine;
  machine.host.bandwidth_gbps = together;
  for (const int core : {0, 1}) {
    MachineDevice device;
    device.id = "cpu:" + std::to_string(core);
    device.cores = {core};
    device.bandwidth_gbps = kAlone;
    device.products = ProductRates{1000, 450, 240};
    machine.devices.push_back(std::move(device));
  }
  machine.links.push_back({"cpu:0", "cpu:1", LinkKind::kSharedMemory, 15, 0.4, true});
  return machine;
}

double decode_rate(const Sketch& sketch, double together, std::int32_t sequences = 1) {
  const auto model = plannable_model("llama-3.2-1b", "q4_k_m");
  const auto engine = find_engine("tandem");
  const Machine machine = two_cores(together);
  const auto bench = bench_of(machine, **engine);
  Workload workload;
  workload.concurrency = sequences;
  const ModelCosts costs(model->spec, ElementType::kF16);
  return estimate_time(costs, sketch, *bench, workload).decode_tokens_per_s(sequences);
}

const Sketch kOne = {{0, 16, {0}, {1.0}}};
const Sketch kTensor = {{0, 16, {0, 1}, {0.5, 0.5}}};
const Sketch kPipeline = {{0, 8, {0}, {1.0}}, {8, 8, {1}, {1.0}}};

TEST(SharedBus, BoundsATensorGroup) {
  const double one = decode_rate(kOne, 2 * kAlone);
  EXPECT_GT(decode_rate(kTensor, 2 * kAlone), 1.7 * one);
  const double shared = decode_rate(kTensor, 1.15 * kAlone);
  EXPECT_GT(shared, 1.05 * one);
  EXPECT_LT(shared, 1.35 * one);
}

TEST(SharedBus, DoesNotSlowStagesThatTakeTurns) {
  EXPECT_NEAR(decode_rate(kPipeline, 1.15 * kAlone), decode_rate(kPipeline, 2 * kAlone), 1e-9);
  EXPECT_LT(decode_rate(kPipeline, 1.15 * kAlone, 2), decode_rate(kPipeline, 2 * kAlone, 2));
}

}  // namespace
}  // namespace tandem
