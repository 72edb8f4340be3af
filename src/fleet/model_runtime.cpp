#include "fleet/model_runtime.h"

#include <algorithm>
#include <utility>

namespace tandem {

ModelRuntime::ModelRuntime(EventLoop& loop, std::string name, const std::string& log_file,
                           ModelEvents events)
    : loop_(loop),
      name_(std::move(name)),
      log_(log_file, log_file.empty()),
      events_(std::move(events)),
      drain_timer_(loop) {}

ModelRuntime::~ModelRuntime() {
  *is_alive_ = false;
}

std::shared_ptr<Replica> ModelRuntime::make_replica(std::size_t index, PlacedReplica placed) {
  WorkerSettings settings = make_settings_(index, placed);
  return std::make_shared<Replica>(loop_, std::move(settings), std::move(placed), log_,
                                   [this](WorkerState, const std::string&) { changed(); });
}

void ModelRuntime::start(std::vector<PlacedReplica> placed, MakeSettings make_settings) {
  make_settings_ = std::move(make_settings);
  failure_.clear();
  is_down_ = false;
  phase_ = Phase::kStarting;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    replicas_.push_back(make_replica(i, std::move(placed[i])));
  }
  for (const auto& replica : replicas_) replica->worker().start();
  changed();  // also where there is none
}

void ModelRuntime::stop() {
  to_roll_.clear();
  drain_timer_.cancel();
  if (phase_ != Phase::kStopped) phase_ = Phase::kStopping;
  for (const auto& replica : replicas_) replica->worker().stop();
  changed();
}

// A worker's listener must not touch the worker's life: what follows from a change is done after
// it.
void ModelRuntime::changed() {
  if (std::exchange(is_update_due_, true)) return;
  loop_.post([this, alive = is_alive_] {
    if (!*alive) return;
    is_update_due_ = false;
    update();
  });
}

void ModelRuntime::update() {
  const auto is_in = [](WorkerState state) {
    return [state](const auto& replica) { return replica->worker().state() == state; };
  };
  switch (phase_) {
    case Phase::kStopped:
      return events_.on_stopped();
    case Phase::kStarting:
      if (std::ranges::any_of(replicas_, is_in(WorkerState::kReady))) {
        phase_ = Phase::kRunning;
        return events_.on_ready();
      }
      if (std::ranges::all_of(replicas_, is_in(WorkerState::kFailed))) {
        give_up(replicas_.empty() ? "it has no place" : replicas_[0]->worker().reason());
      }
      return;
    case Phase::kRunning:
      return update_running();
    case Phase::kStopping:
      if (!std::ranges::all_of(replicas_, is_in(WorkerState::kStopped))) return;
      replicas_.clear();
      phase_ = Phase::kStopped;
      if (failure_.empty()) return events_.on_stopped();
      return events_.on_failed(std::exchange(failure_, {}));
  }
}

void ModelRuntime::update_running() {
  std::size_t num_ready = 0;
  std::size_t num_failed = 0;
  for (const auto& replica : replicas_) {
    num_ready += replica->worker().state() == WorkerState::kReady ? 1 : 0;
    num_failed += replica->worker().state() == WorkerState::kFailed ? 1 : 0;
  }
  if (is_rolling()) roll_next();
  if (num_failed == replicas_.size() && !is_rolling()) {
    return give_up(replicas_[0]->worker().reason());
  }
  const bool was_down = std::exchange(is_down_, num_ready == 0);
  if (was_down && !is_down_) return events_.on_ready();
  if (!was_down && is_down_) return events_.on_all_down();
  events_.on_change();
}

void ModelRuntime::give_up(const std::string& why) {
  failure_ = why.empty() ? "its workers ended" : why;
  was_lost_by_device_ = !replicas_.empty() && !replicas_[0]->worker().failed_device().empty();
  stop();
}

void ModelRuntime::roll(std::vector<PlacedReplica> placed, MakeSettings make_settings,
                        std::int64_t drain_timeout_ms) {
  make_settings_ = std::move(make_settings);
  to_roll_ = std::move(placed);
  drain_timeout_ms_ = drain_timeout_ms;
  roll_index_ = 0;
  if (!to_roll_.empty()) replace(0);
}

// The one being replaced has come so far that something can be done.
void ModelRuntime::roll_next() {
  if (roll_index_ >= replicas_.size()) return;
  Worker& worker = replicas_[roll_index_]->worker();
  if (replicas_[roll_index_]->is_draining()) {
    if (worker.state() != WorkerState::kStopped) return;
    if (roll_index_ < to_roll_.size()) {
      replicas_[roll_index_] = make_replica(roll_index_, to_roll_[roll_index_]);
      replicas_[roll_index_]->worker().start();
      return;
    }
    replicas_.erase(replicas_.begin() + static_cast<std::ptrdiff_t>(roll_index_));
  } else {
    // A successor that does not become ready must not take the others down with it.
    if (worker.state() != WorkerState::kReady && worker.state() != WorkerState::kFailed) return;
    ++roll_index_;
  }
  if (roll_index_ < std::max(replicas_.size(), to_roll_.size())) return replace(roll_index_);
  to_roll_.clear();
}

// Begins with replica `index`: lets the old one go, or starts a further one.
void ModelRuntime::replace(std::size_t index) {
  if (index >= replicas_.size()) {
    replicas_.push_back(make_replica(index, to_roll_[index]));
    replicas_.back()->worker().start();
    return changed();
  }
  const std::shared_ptr<Replica> replica = replicas_[index];
  const auto stop = [this, alive = is_alive_, replica] {
    if (*alive) drain_timer_.cancel();
    replica->worker().stop();
  };
  drain_timer_.start(drain_timeout_ms_, stop);
  replica->drain(stop);
  changed();
}

}  // namespace tandem
