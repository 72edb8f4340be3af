#include "support/cpu_runtime.h"

#include <algorithm>
#include <numeric>
#include <thread>

#include "runtime/evaluate.h"

namespace tandem::test {

Result<std::unique_ptr<Runtime>> start_on_cpu(const ReferenceModel& model, const SplitChoice& split,
                                              const RunChoice& run) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return start_on(model, split, run, [&](int index) {
    CpuDeviceOptions options;
    options.cores = {index % cores};
    options.pin_threads = false;
    options.arithmetic = run.arithmetic;
    options.instruction_set = run.instruction_set;
    return create_cpu_device("cpu:0#" + std::to_string(index), options);
  });
}

Result<std::unique_ptr<Runtime>> start_on(const ReferenceModel& model, const SplitChoice& split,
                                          const RunChoice& run, const DeviceMaker& make_device) {
  LayoutRequest request;
  request.context_tokens = 256;
  request.max_sequences = 4;
  request.max_batch_tokens = run.max_batch_tokens;
  request.micro_batch_tokens = run.micro_batch_tokens;
  request.max_output_rows = 16;
  request.kv_block_tokens = 16;
  request.kv_type = run.kv_type;
  request.split_by_expert = split.by_expert;
  request.output_on_all_stages = true;
  std::vector<std::unique_ptr<Device>> devices;
  for (const auto& stage : split.stages) {
    std::vector<LayoutDevice> group;
    for (const double speed : stage) {
      const int index = static_cast<int>(devices.size());
      TANDEM_TRY(auto device, make_device(index));
      if (run.wrap_device) device = run.wrap_device(index, std::move(device));
      group.push_back({device->info().id, speed, 0});
      devices.push_back(std::move(device));
    }
    request.stages.push_back(std::move(group));
  }
  TANDEM_TRY(Plan plan, lay_out(model.spec, request));
  RuntimeOptions options;
  options.deadline_us = run.deadline_us;
  return create_runtime(std::move(plan), model.spec, model.file, std::move(devices), options,
                        run.make_gpu_group, run.make_gpu_link);
}

Result<std::vector<float>> logits_of(ModelRunner& runner, const std::vector<std::int32_t>& tokens,
                                     const std::vector<std::int32_t>& positions) {
  std::vector<float> rows;
  TANDEM_TRY_STATUS(evaluate(runner, tokens, positions,
                             [&](std::int32_t, std::span<const float> logits) -> Status {
                               rows.insert(rows.end(), logits.begin(), logits.end());
                               return {};
                             }));
  return rows;
}

Result<Greedy> generate_greedily(ModelRunner& runner, const std::vector<std::int32_t>& prompt,
                                 std::int32_t count) {
  const Plan& plan = runner.plan();
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(plan.kv.num_blocks));
  std::iota(blocks.rbegin(), blocks.rend(), 0);  // backwards: tables must be obeyed
  Greedy result;
  auto next = prompt;
  std::int32_t context = 0;
  while (static_cast<std::int32_t>(result.tokens.size()) < count) {
    const auto chunk =
        std::min<std::size_t>(next.size(), static_cast<std::size_t>(plan.max_batch_tokens));
    const std::vector<std::int32_t> ids(next.begin(), next.begin() + static_cast<long>(chunk));
    next.erase(next.begin(), next.begin() + static_cast<long>(chunk));
    context += static_cast<std::int32_t>(chunk);
    auto batch = std::make_shared<StepBatch>();
    append_sequence(*batch, ids, context, blocks, plan.kv.block_tokens, next.empty());
    TANDEM_TRY(const StepResult step, runner.step(batch));
    if (!next.empty()) continue;
    const auto row = step.row(0);
    result.logits.insert(result.logits.end(), row.begin(), row.end());
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    result.tokens.push_back(static_cast<std::int32_t>(best));
    next = {result.tokens.back()};
  }
  return result;
}

}  // namespace tandem::test
