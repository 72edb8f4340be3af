#include "fleet/worker.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/clock.h"

namespace tandem {
namespace {

// Between two looks at a process that starts.
constexpr std::int64_t kStartProbeMs = 100;
// So many unanswered checks in a row are a hang.
constexpr std::int32_t kMaxMissedChecks = 3;
// Answers to probes are read up to this.
constexpr std::size_t kMaxProbeBytes = 4 << 20;

// Of what a process has said before it ended, this much is kept for the reason.
constexpr std::size_t kMaxLastWords = 1024;

}  // namespace

std::string_view name_of(WorkerState state) {
  constexpr std::array<std::string_view, 6> kNames = {"stopped",  "starting",    "ready",
                                                      "stopping", "backing off", "failed"};
  return kNames[static_cast<std::size_t>(state)];
}

std::string progress_counters(std::string_view metrics) {
  constexpr std::array<std::string_view, 6> kCounters = {
      "llamacpp:n_decode_total",         "llamacpp:prompt_tokens_total",
      "llamacpp:tokens_predicted_total", "vllm:prompt_tokens_total",
      "vllm:generation_tokens_total",    "vllm:iteration_tokens_total_sum"};
  std::string found;
  while (!metrics.empty()) {
    const std::string_view line = metrics.substr(0, metrics.find('\n'));
    metrics.remove_prefix(std::min(metrics.size(), line.size() + 1));
    const bool counts = std::ranges::any_of(
        kCounters, [&](std::string_view counter) { return line.starts_with(counter); });
    if (counts) found += std::string(line) + "\n";
  }
  return found;
}

Worker::Worker(EventLoop& loop, WorkerSettings settings, WorkerLog& log, Listener listener)
    : loop_(loop),
      settings_(std::move(settings)),
      log_(log),
      listener_(std::move(listener)),
      timer_(loop),
      kill_timer_(loop) {}

Worker::~Worker() = default;

void Worker::set_state(WorkerState state, std::string reason) {
  state_ = state;
  doubt_ = Doubt::kNone;
  reason_ = std::move(reason);
  log_.note(fmt::format("{}: {}{}{}", settings_.name, name_of(state), reason_.empty() ? "" : ": ",
                        reason_));
  const std::string said = reason_;  // the listener may change the state again
  listener_(state, said);
}

void Worker::start() {
  if (state_ == WorkerState::kStopping) {
    wants_start_ = true;
    return;
  }
  if (state_ == WorkerState::kStarting || state_ == WorkerState::kReady) return;
  if (state_ != WorkerState::kBackingOff) failures_in_row_ = 0;
  set_state(WorkerState::kStarting, {});
  launch();
}

void Worker::launch() {
  auto start = settings_.next_start();
  if (!start.ok()) return went_down(start.error().to_string());
  auto client = UpstreamClient::create(loop_, start->address);
  if (!client.ok()) return went_down(client.error().to_string());
  WorkerEvents events;
  last_words_.clear();
  events.on_output = [this](std::string_view output) {
    log_.append(settings_.name, output);
    last_words_ += output;
    if (last_words_.size() > kMaxLastWords) {
      last_words_.erase(0, last_words_.size() - kMaxLastWords);
    }
  };
  events.on_exit = [this](WorkerExit exit) { on_exit(exit); };
  auto process = WorkerProcess::start(loop_, start->launch, std::move(events));
  if (!process.ok()) return went_down(process.error().to_string());
  process_ = std::move(*process);
  client_ = std::move(*client);
  started_us_ = monotonic_us();
  timer_.start(kStartProbeMs, [this] { probe_start(); });
}

void Worker::stop() {
  wants_start_ = false;
  kill_reason_.clear();
  timer_.cancel();
  probe_.reset();
  if (state_ == WorkerState::kStopping || state_ == WorkerState::kStopped) return;
  if (!process_) return set_state(WorkerState::kStopped, {});
  set_state(WorkerState::kStopping, {});
  process_->signal(SIGTERM);
  kill_timer_.start(settings_.supervision.kill_delay_ms, [this] {
    log_.note(settings_.name + ": does not end; killed");
    if (process_) process_->signal(SIGKILL);
  });
}

void Worker::kill_and_restart(const std::string& reason) {
  if (!process_ || state_ == WorkerState::kStopping) return;
  spdlog::warn("{}: {}; it is killed and started again", settings_.name, reason);
  timer_.cancel();
  probe_.reset();
  kill_reason_ = reason;
  process_->signal(SIGKILL);
  // The next one starts when this has ended: only then is its memory free again.
  set_state(WorkerState::kStopping, reason);
}

void Worker::on_exit(WorkerExit exit) {
  process_.reset();
  kill_timer_.cancel();
  if (!kill_reason_.empty()) return went_down(std::exchange(kill_reason_, {}));
  if (state_ != WorkerState::kStopping) {
    const WorkerEnd end = judge_end(exit, last_words_, settings_.exit_codes, settings_.devices);
    if (!end.failed_device.empty()) ++num_device_failures_;
    failed_device_ = end.failed_device;
    spdlog::warn("{}: {}", settings_.name, end.reason);
    return went_down(end.reason, end.is_fatal);
  }
  client_.reset();
  set_state(WorkerState::kStopped, {});
  if (std::exchange(wants_start_, false)) start();
}

// Dead, or as good as dead: again, after a while.
void Worker::went_down(const std::string& reason, bool is_fatal) {
  const SupervisionPolicy& policy = settings_.supervision;
  timer_.cancel();
  probe_.reset();
  client_.reset();
  wants_start_ = false;
  const std::int64_t now = monotonic_us();
  down_us_.push_back(now);
  while (now - down_us_.front() > policy.restart_window_ms * 1000) down_us_.pop_front();
  const bool is_failed =
      is_fatal || static_cast<std::int32_t>(down_us_.size()) > policy.max_restarts;
  std::int64_t delay = policy.failed_cooldown_ms;
  if (!is_failed) {
    delay = policy.restart_delay_ms;
    for (std::int32_t i = 0; i < failures_in_row_ && delay < policy.restart_delay_max_ms; ++i) {
      delay *= 2;
    }
    delay = std::min(delay, policy.restart_delay_max_ms);
  }
  ++failures_in_row_;
  timer_.start(delay, [this, is_failed] {
    ++num_restarts_;
    if (is_failed) down_us_.clear();
    set_state(WorkerState::kStarting, {});
    launch();
  });
  set_state(is_failed ? WorkerState::kFailed : WorkerState::kBackingOff, reason);
}

UpstreamRequest Worker::probe(std::string method, std::string target,
                              std::int64_t timeout_ms) const {
  UpstreamRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.connect_timeout_ms = timeout_ms;
  request.deadline_us = monotonic_us() + timeout_ms * 1000;
  return request;
}

void Worker::ask(UpstreamRequest request, std::function<void(int status, std::string body)> then) {
  struct Answer {
    int status = 0;
    std::string body;
  };
  auto answer = std::make_shared<Answer>();
  UpstreamEvents events;
  events.on_head = [answer](UpstreamHead head) { answer->status = head.status; };
  events.on_body = [answer](std::string piece) {
    if (answer->body.size() < kMaxProbeBytes) answer->body += piece;
  };
  events.on_end = [answer, then] { then(answer->status, std::move(answer->body)); };
  events.on_failure = [then](UpstreamFailure failure) { then(0, std::move(failure.message)); };
  probe_ = client_->call(std::move(request), std::move(events));
}

void Worker::probe_start() {
  const std::int64_t left_ms = settings_.load_timeout_ms - (monotonic_us() - started_us_) / 1000;
  if (left_ms <= 0) {
    return kill_and_restart(fmt::format("not ready within {} s", settings_.load_timeout_ms / 1000));
  }
  ask(probe("GET", settings_.health_path,
            std::min(left_ms, settings_.supervision.health_timeout_ms)),
      [this](int status, const std::string&) {
        if (status / 100 == 2) return prove();
        timer_.start(kStartProbeMs, [this] { probe_start(); });
      });
}

// Green is not ready: one token has to come out.
void Worker::prove() {
  const std::int64_t left_ms = settings_.load_timeout_ms - (monotonic_us() - started_us_) / 1000;
  UpstreamRequest request = probe("POST", "/v1/completions", std::max<std::int64_t>(left_ms, 1));
  request.headers = {{"Content-Type", "application/json"}};
  request.body = std::make_shared<const std::string>(
      nlohmann::json{{"model", settings_.model_name}, {"prompt", "a"}, {"max_tokens", 1}}.dump());
  ask(std::move(request), [this](int status, const std::string&) {
    // A server without this route answers as well as one with it.
    if (status >= 200 && status < 500) return became_ready();
    timer_.start(kStartProbeMs, [this] { probe_start(); });
  });
}

void Worker::became_ready() {
  load_us_ = monotonic_us() - started_us_;
  failures_in_row_ = 0;
  failed_device_.clear();
  missed_checks_ = 0;
  counters_.reset();
  knows_counters_ = false;
  progress_us_ = monotonic_us();
  watch();
  set_state(WorkerState::kReady, {});
}

void Worker::watch() {
  timer_.start(settings_.supervision.health_interval_ms, [this] { check_health(); });
}

void Worker::check_health() {
  ask(probe("GET", settings_.health_path, settings_.supervision.health_timeout_ms),
      [this](int status, const std::string& message) {
        if (status / 100 == 2) {
          missed_checks_ = 0;
          doubt_ = Doubt::kNone;
          return check_progress();
        }
        if (++missed_checks_ >= kMaxMissedChecks) {
          return kill_and_restart(status > 0 ? fmt::format("health check says {}", status)
                                             : "no answer to health checks: " + message);
        }
        watch();
      });
}

void Worker::check_progress() {
  if (num_at_work_ == 0) {
    progress_us_ = monotonic_us();
    return watch();
  }
  ask(probe("GET", "/metrics", settings_.supervision.health_timeout_ms),
      [this](int status, const std::string& body) {
        const std::string counters = status == 200 ? progress_counters(body) : std::string();
        if (!counters.empty()) {
          knows_counters_ = true;
          if (counters != counters_) progress_us_ = monotonic_us();
          counters_ = counters;
        }
        judge_progress();
      });
}

void Worker::judge_progress() {
  const std::int64_t still_ms = (monotonic_us() - progress_us_) / 1000;
  // A server that shows no counters may be deep in a long prompt: that is for a request's own
  // time-outs to say, which call suspect().
  if (knows_counters_ && still_ms > settings_.supervision.hang_timeout_ms) {
    return kill_and_restart(fmt::format("{} requests at work and nothing has moved for {} s",
                                        num_at_work_, still_ms / 1000));
  }
  watch();
}

void Worker::begin_request() {
  // A worker that had nothing to do has not hung meanwhile.
  if (num_at_work_++ == 0) progress_us_ = monotonic_us();
}

void Worker::end_request() {
  --num_at_work_;
  note_progress();
}

void Worker::note_progress() {
  progress_us_ = monotonic_us();
}

void Worker::look_again() {
  if (state_ != WorkerState::kReady || doubt_ != Doubt::kNone) return;
  doubt_ = Doubt::kIsThere;
  timer_.cancel();
  check_health();
}

void Worker::suspect() {
  // One proof at a time: others that wait in vain must not put it off.
  if (state_ != WorkerState::kReady || doubt_ == Doubt::kComputes) return;
  doubt_ = Doubt::kComputes;
  timer_.cancel();
  UpstreamRequest request = probe("POST", "/v1/completions", settings_.supervision.hang_timeout_ms);
  request.headers = {{"Content-Type", "application/json"}};
  request.body = std::make_shared<const std::string>(
      nlohmann::json{{"model", settings_.model_name}, {"prompt", "a"}, {"max_tokens", 1}}.dump());
  ask(std::move(request), [this](int status, const std::string& message) {
    if (status == 0) {
      return kill_and_restart("a request got no answer, nor did a check: " + message);
    }
    doubt_ = Doubt::kNone;
    watch();
  });
}

}  // namespace tandem
