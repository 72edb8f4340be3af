#include "app/bench/step_driver.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"
#include "base/clock.h"
#include "base/index_of_largest.h"

namespace tandem {
namespace {

double seconds_since(std::int64_t began_ns) {
  return 1e-9 * static_cast<double>(monotonic_ns() - began_ns);
}

// Any token does; different ones, so that experts are chosen as for a text.
std::int32_t prompt_token(std::int64_t position, std::int64_t vocabulary_size) {
  return static_cast<std::int32_t>((position * 7919 + 131) % vocabulary_size);
}

std::int32_t likeliest(const StepResult& result, std::size_t row) {
  if (const auto best = result.best(row); !best.empty()) return best.front().token;
  return static_cast<std::int32_t>(index_of_largest(result.row(row)));
}

void scale(RankTimes& times, double factor) {
  for (double RankTimes::*field :
       {&RankTimes::compute, &RankTimes::wait, &RankTimes::reduce, &RankTimes::stage_wait,
        &RankTimes::transfer, &RankTimes::output, &RankTimes::idle}) {
    times.*field *= factor;
  }
}

}  // namespace

StepDriver::StepDriver(Runtime& runtime, const DriverWorkload& workload)
    : runtime_(runtime),
      workload_(workload),
      blocks_per_sequence_(
          ceil_div(workload.prompt_tokens + workload.gen_tokens, runtime.plan().kv.block_tokens)),
      next_tokens_(static_cast<std::size_t>(workload.max_concurrency), 1) {}

std::vector<std::int32_t> StepDriver::blocks_of(std::int32_t sequence) const {
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(blocks_per_sequence_));
  std::iota(blocks.begin(), blocks.end(), sequence * blocks_per_sequence_);
  return blocks;
}

RunTimes StepDriver::begin() {
  runtime_.reset_times();
  RunTimes run;
  return run;
}

void StepDriver::end(RunTimes& run, std::int64_t began_ns, int passes) const {
  const double factor = 1.0 / passes;
  run.wall = seconds_since(began_ns) * factor;
  run.host *= factor;
  run.sampling *= factor;
  run.ranks = runtime_.times();
  for (RankTimes& rank : run.ranks) scale(rank, factor);
}

Status StepDriver::fill() {
  RunTimes ignored;
  for (std::int32_t sequence = 0; sequence < workload_.max_concurrency; ++sequence) {
    TANDEM_TRY_STATUS(feed_prompt(sequence, ignored));
  }
  return {};
}

Status StepDriver::feed_prompt(std::int32_t sequence, RunTimes& run) {
  const std::int64_t began = monotonic_ns();
  const Plan& plan = runtime_.plan();
  const auto blocks = blocks_of(sequence);
  std::vector<std::int64_t> numbers;
  for (std::int32_t at = 0; at < workload_.prompt_tokens; at += plan.max_batch_tokens) {
    const std::int32_t end = std::min(at + plan.max_batch_tokens, workload_.prompt_tokens);
    std::vector<std::int32_t> ids;
    for (std::int32_t i = at; i < end; ++i) {
      ids.push_back(prompt_token(i, runtime_.vocabulary_size()));
    }
    auto batch = std::make_shared<StepBatch>();
    append_sequence(*batch, ids, end, blocks, plan.kv.block_tokens, end == workload_.prompt_tokens);
    TANDEM_TRY(const std::int64_t number, runtime_.submit(std::move(batch)));
    numbers.push_back(number);
  }
  run.host += seconds_since(began);
  for (const std::int64_t number : numbers) {
    TANDEM_TRY(const StepResult result, runtime_.wait(number));
  }
  return {};
}

Result<RunTimes> StepDriver::prefill(int passes) {
  RunTimes run = begin();
  // The runtime cuts prompts into micro-batches where there are stages.
  run.steps_in_flight = ceil_div(workload_.prompt_tokens, runtime_.plan().micro_batch_tokens);
  const std::int64_t began = monotonic_ns();
  for (int pass = 0; pass < passes; ++pass) TANDEM_TRY_STATUS(feed_prompt(0, run));
  end(run, began, passes);
  return run;
}

Result<std::int64_t> StepDriver::submit_decode(std::int32_t group, std::int32_t num_groups,
                                               std::int32_t concurrency, std::int32_t position) {
  auto batch = std::make_shared<StepBatch>();
  std::int32_t num_rows = 0;
  for (std::int32_t s = group; s < concurrency; s += num_groups) {
    append_sequence(*batch, {next_tokens_[static_cast<std::size_t>(s)]}, position + 1, blocks_of(s),
                    runtime_.plan().kv.block_tokens, true);
    ++num_rows;
  }
  // A GPU picks the best token itself, as it does for the engine.
  batch->output_candidates.assign(static_cast<std::size_t>(num_rows), 1);
  return runtime_.submit(std::move(batch));
}

Status StepDriver::decode_once(std::int32_t concurrency, RunTimes& run) {
  const std::int32_t num_groups = run.steps_in_flight;
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(num_groups));
  const auto submit = [&](std::int32_t group, std::int32_t token) -> Status {
    const std::int64_t began = monotonic_ns();
    TANDEM_TRY(numbers[static_cast<std::size_t>(group)],
               submit_decode(group, num_groups, concurrency, workload_.prompt_tokens + token));
    run.host += seconds_since(began);
    return {};
  };
  for (std::int32_t group = 0; group < num_groups; ++group) TANDEM_TRY_STATUS(submit(group, 0));
  for (std::int32_t token = 0; token < workload_.gen_tokens; ++token) {
    for (std::int32_t group = 0; group < num_groups; ++group) {
      TANDEM_TRY(const StepResult result, runtime_.wait(numbers[static_cast<std::size_t>(group)]));
      const std::int64_t began = monotonic_ns();
      std::size_t row = 0;
      for (std::int32_t s = group; s < concurrency; s += num_groups, ++row) {
        next_tokens_[static_cast<std::size_t>(s)] = likeliest(result, row);
      }
      run.sampling += seconds_since(began);
      if (token + 1 < workload_.gen_tokens) TANDEM_TRY_STATUS(submit(group, token + 1));
    }
  }
  return {};
}

Result<RunTimes> StepDriver::decode(std::int32_t concurrency, int passes) {
  RunTimes run = begin();
  run.steps_in_flight =
      std::min(concurrency, static_cast<std::int32_t>(runtime_.plan().stages.size()));
  const std::int64_t began = monotonic_ns();
  for (int pass = 0; pass < passes; ++pass) {
    TANDEM_TRY_STATUS(decode_once(concurrency, run));
  }
  end(run, began, passes);
  return run;
}

}  // namespace tandem
