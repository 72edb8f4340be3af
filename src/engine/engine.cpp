#include "engine/engine.h"

#include <fmt/format.h>
#include <pthread.h>

#include <utility>

#include "base/clock.h"

namespace tandem {
namespace {

// The ranks' own figures take locks; a person who looks at them needs no more.
constexpr std::int64_t kRankIntervalUs = 200'000;

}  // namespace

Engine::Engine(std::unique_ptr<ModelRunner> runner, std::shared_ptr<const Tokenizer> tokenizer,
               EngineOptions options)
    : engine_(std::move(runner), std::move(tokenizer), options), stats_(engine_.stats()) {
  max_open_ = options.max_queued + stats_.max_sequences;
  thread_ = std::thread([this] { run(); });
}

Engine::~Engine() {
  {
    const std::lock_guard lock(mutex_);
    inbox_.stop = true;
  }
  wake_.notify_one();
  thread_.join();
}

Result<RequestId> Engine::submit(GenerationRequest request, EventSink sink) {
  TANDEM_TRY_STATUS(engine_.check(request));
  RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!stats_.failure.empty()) {
      return Error{
          ErrorCode::kDeviceFailed, "the engine has failed: " + stats_.failure, {}, {}, {}};
    }
    if (static_cast<std::int32_t>(open_.size()) >= max_open_) {
      return Error{ErrorCode::kBusy,
                   fmt::format("{} requests are running or queued", open_.size()),
                   {},
                   {},
                   {}};
    }
    id = next_id_++;
    open_.insert(id);
    inbox_.submissions.push_back({id, std::move(request), counted(id, std::move(sink))});
  }
  wake_.notify_one();
  return id;
}

// The same sink; takes the request off the open ones once its last event is out.
EventSink Engine::counted(RequestId id, EventSink sink) {
  return [this, id, inner = std::move(sink)](GenerationEvent event) {
    const auto* finish = std::get_if<FinishEvent>(&event);
    const bool is_last = std::holds_alternative<ErrorEvent>(event) || (finish && finish->is_last);
    inner(std::move(event));
    if (!is_last) return;
    const std::lock_guard lock(mutex_);
    open_.erase(id);
  };
}

void Engine::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    if (!open_.contains(id)) return;
    inbox_.cancellations.push_back(id);
  }
  wake_.notify_one();
}

void Engine::cancel_all() {
  {
    const std::lock_guard lock(mutex_);
    inbox_.cancel_all = true;
  }
  wake_.notify_one();
}

EngineStats Engine::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::int32_t Engine::num_open() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int32_t>(open_.size());
}

void Engine::run() {
  pthread_setname_np(pthread_self(), "engine");
  bool has_work = false;
  while (true) {
    Inbox inbox = take_inbox(!has_work);
    const bool stop = inbox.stop;
    const bool has_new = !inbox.submissions.empty();
    handle(std::move(inbox));
    // A step over a long prompt takes seconds: who has come is seen before its end.
    if (has_new) publish_stats(false);
    has_work = engine_.step();
    publish_stats(!has_work);
    if (stop && !has_work) return;
  }
}

void Engine::publish_stats(bool is_idle) {
  EngineStats stats = engine_.stats();
  const std::int64_t now = monotonic_us();
  if (is_idle || now - ranks_measured_us_ > kRankIntervalUs) {
    ranks_measured_us_ = now;
    engine_.measure_ranks(stats);
  } else {
    stats.ranks = ranks_;
    stats.memory = memory_;
  }
  ranks_ = stats.ranks;
  memory_ = stats.memory;
  const std::lock_guard lock(mutex_);
  stats_ = std::move(stats);
}

Engine::Inbox Engine::take_inbox(bool may_sleep) {
  std::unique_lock lock(mutex_);
  if (may_sleep) wake_.wait(lock, [this] { return !inbox_.is_empty(); });
  // Stopping goes on until the last flight has landed.
  const bool stop = inbox_.stop;
  Inbox inbox = std::exchange(inbox_, {});
  inbox_.stop = stop;
  return inbox;
}

void Engine::handle(Inbox inbox) {
  for (Submission& submission : inbox.submissions) {
    engine_.add(submission.id, std::move(submission.request), std::move(submission.sink));
  }
  for (const RequestId id : inbox.cancellations) engine_.cancel(id);
  if (inbox.cancel_all || inbox.stop) engine_.cancel_all();
}

}  // namespace tandem
