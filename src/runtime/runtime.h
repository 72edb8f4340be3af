#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "comm/communicator.h"
#include "device/device.h"
#include "nn/step_batch.h"
#include "nn/token_candidates.h"
#include "plan/plan.h"
#include "runtime/logits_memory.h"

namespace tandem {

class GgufFile;
class TraceWriter;

// Logits of a step's output rows, and hidden states of its hidden rows. Row i belongs to
// StepBatch::output_rows[i] or hidden_rows[i]. A row of which only the best were wanted may have
// these in best(), changed as the batch said; then it has no row().
struct StepResult {
  std::int64_t vocabulary_size = 0;
  std::vector<float> logits;                        // [num_output_rows, vocabulary_size]
  std::vector<std::vector<TokenLogit>> candidates;  // [num_output_rows], or none at all
  std::vector<double> log_sums;                     // of rows with candidates; or none at all
  std::int64_t hidden_size = 0;
  std::vector<float> hidden;           // [num_hidden_rows, hidden_size], after the output norm
  std::shared_ptr<LogitsMemory> home;  // gets the memory back; may be null

  StepResult() = default;
  StepResult(StepResult&&) = default;
  StepResult& operator=(StepResult&&) = default;
  ~StepResult() {
    if (home) home->give_back(std::move(logits));
  }

  std::span<const float> row(std::size_t index) const {
    const auto size = static_cast<std::size_t>(vocabulary_size);
    return std::span<const float>(logits).subspan(index * size, size);
  }
  // Best first, ties to the lower token. Empty: see row().
  std::span<const TokenLogit> best(std::size_t index) const {
    if (candidates.empty()) return {};
    return candidates[index];
  }
  // The logarithm of the sum of exp(logit) over the row's tokens, before changes. Where the batch
  // wanted it, and best() is not empty.
  double log_sum(std::size_t index) const { return log_sums.empty() ? 0.0 : log_sums[index]; }
  std::span<const float> hidden_row(std::size_t index) const {
    const auto size = static_cast<std::size_t>(hidden_size);
    return std::span<const float>(hidden).subspan(index * size, size);
  }
};

// Where a rank's time went since the last reset. Seconds; their sum is the time that it had work.
struct RankTimes {
  std::string device;
  std::int32_t stage = 0;
  double compute = 0;     // its own arithmetic
  double wait = 0;        // for peers at reductions
  double reduce = 0;      // moving and adding at reductions
  double stage_wait = 0;  // for the stage before (or for room in the link to the next one)
  double transfer = 0;    // moving hidden states between stages
  double output = 0;      // logits to the host
  double idle = 0;        // no step was submitted
  std::int64_t num_steps = 0;
  std::int64_t sent_bytes = 0;
};

// What a rank really allocated.
struct RankMemory {
  std::string device;
  std::int64_t weights_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t compute_bytes = 0;
};

struct RuntimeOptions {
  std::int64_t deadline_us = 30'000'000;  // of any wait between ranks
  ReduceAlgorithm reduce_algorithm = ReduceAlgorithm::kAuto;
  // Called while weights load, from several threads: bytes done of all.
  std::function<void(std::int64_t done_bytes, std::int64_t total_bytes)> on_load_progress;
  std::shared_ptr<TraceWriter> trace;  // gets a span for each step of each rank; may be null
  // Faults for tests and `bench`. Per rank (over all stages), relative: 0.2 makes its compute 20 %
  // slower. Empty: none.
  std::vector<double> injected_slowdown;
  std::int64_t injected_slowdown_from_step = 0;  // micro-steps before it begins
  std::int64_t injected_link_delay_us = 0;
};

// Runs the steps of a model as a plan says. What the engine needs of it, so that tests can put
// a scripted one in its place.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  virtual const Plan& plan() const = 0;
  virtual std::int64_t vocabulary_size() const = 0;

  // Hands the batch to the ranks of stage 0 and returns its number. Does not block. Steps run in
  // the order of submission; up to num_stages of them at once (each stage works on another).
  // A batch that breaks the rules (find_fault) or exceeds the plan's max_batch_tokens is a bug of
  // the caller and fails with kInternal.
  virtual Result<std::int64_t> submit(std::shared_ptr<const StepBatch> batch) = 0;
  // Blocks until step `number` is done, with a deadline. Each number is waited for once. After an
  // error other than kInternal the runner is unusable and must be rebuilt.
  virtual Result<StepResult> wait(std::int64_t number) = 0;

  // submit and wait.
  Result<StepResult> step(std::shared_ptr<const StepBatch> batch);
};

// Ranks that execute a plan: one thread a rank, with its device, shard of the weights and KV
// cache. Owns everything below it; the destructor stops the ranks.
class Runtime : public ModelRunner {
 public:
  // devices: one a rank, stage by stage, in the order of the plan. Loads all shards in parallel;
  // blocks until that is done. Errors: kDoesNotFit, kOutOfMemory, those of the file.
  static Result<std::unique_ptr<Runtime>> create(Plan plan, const ModelSpec& spec,
                                                 std::shared_ptr<const GgufFile> file,
                                                 std::vector<std::unique_ptr<Device>> devices,
                                                 const RuntimeOptions& options);

  virtual std::vector<RankTimes> times() const = 0;
  virtual void reset_times() = 0;
  virtual std::vector<RankMemory> memory() const = 0;
};

}  // namespace tandem
