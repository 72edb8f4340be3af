#include "runtime/runtime.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <latch>
#include <map>
#include <mutex>
#include <thread>

#include "base/units.h"
#include "gguf/gguf_file.h"
#include "runtime/gpu_groups.h"
#include "runtime/micro_batch.h"
#include "runtime/rank.h"
#include "runtime/rank_seating.h"

namespace tandem {
namespace {

class ThreadedRuntime : public Runtime {
 public:
  ThreadedRuntime(Plan plan, const ModelSpec& spec, const RuntimeOptions& options,
                  GpuGroupMaker make_gpu_group, GpuLinkMaker make_gpu_link)
      : plan_(std::move(plan)),
        spec_(spec),
        options_(options),
        make_gpu_group_(std::move(make_gpu_group)),
        make_gpu_link_(std::move(make_gpu_link)),
        queue_(static_cast<std::int32_t>(plan_.num_ranks())) {}

  ~ThreadedRuntime() override {
    queue_.stop();
    for (const auto& rank : ranks_) {
      rank->abort({ErrorCode::kCancelled, "the runtime is being stopped", {}, {}, {}});
    }
    for (std::thread& thread : threads_) thread.join();
  }

  Status start(std::shared_ptr<const GgufFile> file, std::vector<std::unique_ptr<Device>> devices);

  const Plan& plan() const override { return plan_; }
  std::int64_t vocabulary_size() const override { return spec_.vocabulary_size; }
  Result<std::int64_t> submit(std::shared_ptr<const StepBatch> batch) override;
  Result<StepResult> wait(std::int64_t number) override;

  std::vector<RankTimes> times() const override {
    std::vector<RankTimes> times;
    for (const auto& rank : ranks_) times.push_back(rank->times());
    return times;
  }
  void reset_times() override {
    for (const auto& rank : ranks_) rank->reset_times();
  }
  std::vector<RankMemory> memory() const override {
    std::vector<RankMemory> memory;
    for (const auto& rank : ranks_) memory.push_back(rank->memory());
    return memory;
  }

 private:
  void run_rank(Rank& rank, std::latch& loaded);
  void await_cause();
  void fail(const Error& error);
  Status failure() const;
  std::uint64_t num_signs() const;
  Status await(PendingStep& step);
  TokenCandidates candidates_of(const StepBatch& batch) const;

  Plan plan_;
  const ModelSpec spec_;
  RuntimeOptions options_;
  const GpuGroupMaker make_gpu_group_;
  const GpuLinkMaker make_gpu_link_;
  bool picks_candidates_ = false;  // the last stage alone, all of whose devices do
  StepQueue queue_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<std::thread> threads_;
  std::atomic<std::int64_t> loaded_bytes_{0};
  std::shared_ptr<LogitsMemory> logits_memory_ = std::make_shared<LogitsMemory>();

  mutable std::mutex mutex_;
  std::condition_variable has_failed_;
  std::optional<Error> error_;  // the first failure: the runtime is unusable from then on
  std::int64_t next_number_ = 0;
  std::map<std::int64_t, std::shared_ptr<PendingStep>> pending_;
};

Status ThreadedRuntime::start(std::shared_ptr<const GgufFile> file,
                              std::vector<std::unique_ptr<Device>> devices) {
  picks_candidates_ = picks_candidates(plan_, devices);
  const RankSeating seating{plan_, spec_, options_, make_gpu_group_, make_gpu_link_};
  TANDEM_TRY(ranks_, seating.seat(std::move(file), std::move(devices)));
  std::latch loaded(static_cast<std::ptrdiff_t>(ranks_.size()));
  for (const auto& rank : ranks_) {
    threads_.emplace_back([this, &loaded, &rank = *rank] { run_rank(rank, loaded); });
  }
  loaded.wait();
  return failure();
}

void ThreadedRuntime::run_rank(Rank& rank, std::latch& loaded) {
  pthread_setname_np(pthread_self(), "rank");
  std::int64_t total = 0;
  for (const StagePlan& stage : plan_.stages) {
    for (const RankPlan& part : stage.ranks) total += part.weights_bytes;
  }
  const auto on_bytes = [this, total](std::int64_t bytes) {
    const std::int64_t done = loaded_bytes_.fetch_add(bytes) + bytes;
    if (options_.on_load_progress) options_.on_load_progress(done, total);
  };
  const Status status = rank.load(on_bytes);
  if (!status.ok()) fail(status.error());
  loaded.count_down();  // not to be touched after this
  if (!status.ok()) return;
  const Status ran = rank.run(queue_, options_.deadline_us);
  if (ran.ok()) return;
  if (ran.error().code == ErrorCode::kPeerLost) await_cause();
  fail(ran.error());
}

// A rank that lost another may come here before that one, which knows what happened.
void ThreadedRuntime::await_cause() {
  constexpr std::chrono::milliseconds kMostPatience{1000};
  std::unique_lock lock(mutex_);
  has_failed_.wait_for(lock, kMostPatience, [this] { return error_.has_value(); });
}

void ThreadedRuntime::fail(const Error& error) {
  std::map<std::int64_t, std::shared_ptr<PendingStep>> pending;
  {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
    pending = pending_;
  }
  has_failed_.notify_all();
  queue_.stop();
  for (const auto& rank : ranks_) rank->abort(error);
  for (const auto& [number, step] : pending) step->done.interrupt();
}

Status ThreadedRuntime::failure() const {
  const std::lock_guard lock(mutex_);
  if (error_) return *error_;
  return {};
}

std::uint64_t ThreadedRuntime::num_signs() const {
  std::uint64_t total = 0;
  for (const auto& rank : ranks_) total += rank->num_signs();
  return total;
}

Result<std::int64_t> ThreadedRuntime::submit(std::shared_ptr<const StepBatch> batch) {
  std::string fault =
      find_fault(*batch, spec_.vocabulary_size, plan_.kv.num_blocks, plan_.kv.block_tokens);
  if (fault.empty() && batch->num_tokens() > plan_.max_batch_tokens) {
    fault =
        fmt::format("{} tokens, the plan allows {}", batch->num_tokens(), plan_.max_batch_tokens);
  }
  const auto rows = static_cast<std::int32_t>(batch->output_rows.size());
  if (fault.empty() && rows > plan_.max_output_rows) {
    fault = fmt::format("{} rows of logits wanted", rows);
  }
  if (!fault.empty()) return Error{ErrorCode::kInternal, fault, "step batch", {}, {}};

  const std::size_t batch_hidden_rows = batch->hidden_rows.size();
  TokenCandidates candidates = candidates_of(*batch);
  std::vector<std::shared_ptr<const StepBatch>> pieces;
  const bool cut = batch->num_tokens() > plan_.micro_batch_tokens;
  if (cut) {
    for (StepBatch& piece : split_batch(*batch, plan_.micro_batch_tokens)) {
      pieces.push_back(std::make_shared<const StepBatch>(std::move(piece)));
    }
  } else {
    pieces.push_back(std::move(batch));
  }
  auto step = std::make_shared<PendingStep>();
  step->candidates = std::move(candidates);
  if (!step->candidates.are_for_all_rows()) {
    step->logits = logits_memory_->take(static_cast<std::size_t>(rows * spec_.vocabulary_size));
  }
  step->hidden.resize(batch_hidden_rows * static_cast<std::size_t>(spec_.hidden_size));
  step->num_rows = rows;
  step->num_open = static_cast<std::int32_t>(pieces.size() * ranks_.size());

  const std::lock_guard lock(mutex_);
  if (error_) return *error_;
  pending_.emplace(next_number_, step);
  std::int64_t first_row = 0;
  std::int64_t first_hidden = 0;
  for (auto& piece : pieces) {
    const auto piece_rows = static_cast<std::int64_t>(piece->output_rows.size());
    const auto piece_hidden = static_cast<std::int64_t>(piece->hidden_rows.size());
    queue_.push({std::move(piece), first_row, step, first_hidden});
    first_row += piece_rows;
    first_hidden += piece_hidden;
  }
  return next_number_++;
}

// GPUs, whose memory the host does not read, pick the best of their logits themselves.
TokenCandidates ThreadedRuntime::candidates_of(const StepBatch& batch) const {
  if (!picks_candidates_ || batch.output_candidates.empty()) return {};
  std::vector<std::int64_t> first_tokens;
  for (const RankPlan& rank : plan_.stages.back().ranks) {
    first_tokens.push_back(rank.shard.vocabulary.begin);
  }
  return {batch.output_candidates, std::move(first_tokens), batch.output_log_sums};
}

// Waits while any rank shows signs of life; fails the runtime once none has for the deadline. Looks
// for signs several times within it: one given just after a look must not double the wait.
Status ThreadedRuntime::await(PendingStep& step) {
  constexpr std::int32_t kLooks = 16;
  const WaitLimits limits{.pause_us = 5,
                          .spin_us = 50,
                          .deadline_us = std::max<std::int64_t>(1, options_.deadline_us / kLooks)};
  std::int32_t num_silent = 0;
  for (std::uint64_t seen = num_signs();;) {
    const auto outcome = step.done.wait_for(1, limits);
    if (outcome == WaitableCounter::Outcome::kReached) return {};
    if (outcome == WaitableCounter::Outcome::kInterrupted) return failure();
    const std::uint64_t now = num_signs();
    num_silent = now == seen ? num_silent + 1 : 0;
    if (num_silent >= kLooks) {
      fail({ErrorCode::kDeadline, "no device has made progress", "step",
            "progress within " + format_seconds(1e-6 * static_cast<double>(options_.deadline_us)),
            "none"});
      return failure();
    }
    seen = now;
  }
}

Result<StepResult> ThreadedRuntime::wait(std::int64_t number) {
  std::shared_ptr<PendingStep> step;
  {
    const std::lock_guard lock(mutex_);
    const auto found = pending_.find(number);
    if (found == pending_.end()) {
      return Error{ErrorCode::kInternal, fmt::format("step {} is not pending", number), {}, {}, {}};
    }
    step = found->second;
  }
  const Status status = await(*step);
  {
    const std::lock_guard lock(mutex_);
    pending_.erase(number);
  }
  if (!status.ok()) return status.error();
  StepResult result;
  result.vocabulary_size = spec_.vocabulary_size;
  result.logits = std::move(step->logits);
  for (std::int64_t row = 0; step->candidates.per_rank() > 0 && row < step->num_rows; ++row) {
    result.candidates.push_back(step->candidates.are_wanted(row) ? step->candidates.best(row)
                                                                 : std::vector<TokenLogit>{});
    if (step->candidates.have_log_sums()) result.log_sums.push_back(step->candidates.log_sum(row));
  }
  result.hidden_size = spec_.hidden_size;
  result.hidden = std::move(step->hidden);
  result.home = logits_memory_;
  return result;
}

}  // namespace

Result<StepResult> ModelRunner::step(std::shared_ptr<const StepBatch> batch) {
  TANDEM_TRY(const std::int64_t number, submit(std::move(batch)));
  return wait(number);
}

Result<std::unique_ptr<Runtime>> Runtime::create(Plan plan, const ModelSpec& spec,
                                                 std::shared_ptr<const GgufFile> file,
                                                 std::vector<std::unique_ptr<Device>> devices,
                                                 const RuntimeOptions& options) {
  return create_runtime(std::move(plan), spec, std::move(file), std::move(devices), options, {},
                        {});
}

Result<std::unique_ptr<Runtime>> create_runtime(Plan plan, const ModelSpec& spec,
                                                std::shared_ptr<const GgufFile> file,
                                                std::vector<std::unique_ptr<Device>> devices,
                                                const RuntimeOptions& options,
                                                GpuGroupMaker make_gpu_group,
                                                GpuLinkMaker make_gpu_link) {
  TANDEM_TRY_STATUS(validate(plan, spec));
  if (!plan.fits) return Error{ErrorCode::kDoesNotFit, plan.why_not, "plan", {}, {}};
  if (devices.size() != static_cast<std::size_t>(plan.num_ranks())) {
    return invalid_argument("the plan needs another number of devices",
                            std::to_string(plan.num_ranks()), std::to_string(devices.size()));
  }
  auto runtime = std::make_unique<ThreadedRuntime>(
      std::move(plan), spec, options, std::move(make_gpu_group), std::move(make_gpu_link));
  TANDEM_TRY_STATUS(runtime->start(std::move(file), std::move(devices)));
  return std::unique_ptr<Runtime>(std::move(runtime));
}

}  // namespace tandem
