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

// Kernels that reach nine tenths of what there is to read, alone and together.
EngineProfile engine_of(double shared_read = 0.9) {
  EngineProfile engine = **find_engine("tandem");
  BackendProfile& cpu = engine.backends["cpu"];
  cpu.kernels = {{ElementType::kQ4_K, 0.9, shared_read, 1.0, {{1, 1, 1}, {8, 15, 15}}}};
  cpu.group_wait = 0;
  return engine;
}

double rate_on(const Machine& machine, const Sketch& sketch, const EngineProfile& engine,
               std::int32_t sequences = 1) {
  const auto model = plannable_model("llama-3.2-1b", "q4_k_m");
  const auto bench = bench_of(machine, engine);
  Workload workload;
  workload.concurrency = sequences;
  const ModelCosts costs(model->spec, ElementType::kF16);
  return estimate_time(costs, sketch, *bench, workload).decode_tokens_per_s(sequences);
}

double decode_rate(const Sketch& sketch, double together, std::int32_t sequences = 1) {
  return rate_on(two_cores(together), sketch, engine_of(), sequences);
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

// Several that read at once reach less of what there is than one does, by as much as was measured.
TEST(SharedBus, ReachesWhatWasMeasuredOfAllTogether) {
  const Machine machine = two_cores(1.5 * kAlone);
  const double all = rate_on(machine, kTensor, engine_of(0.9));
  EXPECT_NEAR(rate_on(machine, kTensor, engine_of(0.6)), all / 1.5, 0.03 * all);
  EXPECT_DOUBLE_EQ(rate_on(machine, kOne, engine_of(0.6)), rate_on(machine, kOne, engine_of(0.9)));
}

// A device of all cores is several that read at once.
TEST(SharedBus, OneDeviceOfAllCoresFillsIt) {
  Machine machine = two_cores(1.5 * kAlone);
  machine.devices.resize(1);
  machine.devices[0].cores = {0, 1};
  machine.devices[0].bandwidth_gbps = 1.5 * kAlone;
  const double all = rate_on(machine, kOne, engine_of(0.9));
  EXPECT_NEAR(rate_on(machine, kOne, engine_of(0.6)), all / 1.5, 0.03 * all);
}

// Stages take turns at the layers of one sequence, and not at their parts of the output matrix.
TEST(SharedBus, StagesComputeTheirOutputsAtTheSameTime) {
  Sketch last = kPipeline;
  Sketch both = kPipeline;
  last[0].output_share = 0;
  last[1].output_share = 1;
  both[0].output_share = both[1].output_share = 0.5;
  const Machine machine = two_cores(2 * kAlone);
  const double at_last = 1 / rate_on(machine, last, engine_of());
  const double at_both = 1 / rate_on(machine, both, engine_of());
  const auto model = plannable_model("llama-3.2-1b", "q4_k_m");
  const ModelCosts costs(model->spec, ElementType::kF16);
  const double half_output = 0.5 * costs.output_bytes() / (0.9 * kAlone * 1e9);
  EXPECT_NEAR(at_last - at_both, half_output, 0.05 * half_output);
}

TEST(SharedBus, RanksWaitForOneAnother) {
  const Machine machine = two_cores(2 * kAlone);
  EngineProfile engine = engine_of();
  const double one = rate_on(machine, kOne, engine);
  const double two = rate_on(machine, kTensor, engine);
  engine.backends["cpu"].group_wait = 0.2;
  EXPECT_DOUBLE_EQ(rate_on(machine, kOne, engine), one);
  EXPECT_NEAR(rate_on(machine, kTensor, engine), two / 1.2, 0.03 * two);
}

}  // namespace
}  // namespace tandem
