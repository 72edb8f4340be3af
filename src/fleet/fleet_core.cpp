#include "fleet/fleet_core.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/exit_code.h"

namespace tandem {
namespace {

constexpr std::int64_t kLookAgainMs = 100;

std::int32_t seconds_of(std::int64_t ms) {
  return static_cast<std::int32_t>(std::max<std::int64_t>(1, (ms + 999) / 1000));
}

// Names may hold what paths are made of.
std::string log_file(const std::string& folder, std::string name) {
  if (folder.empty()) return {};
  std::ranges::replace(name, '/', '_');
  return folder + "/" + name + ".log";
}

}  // namespace

FleetCore::FleetCore(EventLoop& loop, FleetConfig config, FleetLayout layout,
                     std::unique_ptr<RuntimeFolder> folder, FleetCoreOptions options)
    : loop_(loop),
      config_(std::move(config)),
      layout_(std::move(layout)),
      folder_(std::move(folder)),
      options_(std::move(options)),
      residency_(layout_.pool_bytes,
                 {.failed_cooldown_ms = config_.supervision.failed_cooldown_ms}),
      timer_(loop),
      drain_timer_(loop),
      started_unix_s_(std::chrono::duration_cast<std::chrono::seconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count()) {}

FleetCore::~FleetCore() = default;

std::int64_t FleetCore::now_ms() const {
  return monotonic_us() / 1000;
}

Status FleetCore::start() {
  traffic_.configure(config_, now_ms());
  TANDEM_TRY_STATUS(add_upstreams());
  for (const ModelConfig& model : config_.models) add_model(model);
  for (const std::string& name : config_.served_names()) models_[name];
  carry_out(residency_.load_startup_models(now_ms()));
  return {};
}

Status FleetCore::add_upstreams() {
  std::vector<std::shared_ptr<Upstream>> upstreams;
  for (const UpstreamConfig& upstream : config_.upstreams) {
    // One that is the same stays, with its connections and what is known of it.
    const auto same = std::ranges::find_if(
        upstreams_, [&](const auto& other) { return other->config() == upstream; });
    if (same != upstreams_.end()) {
      upstreams.push_back(*same);
      continue;
    }
    TANDEM_TRY(auto created, Upstream::create(loop_, upstream, [this] {
                 for (const auto& [name, model] : models_) serve_waiting(name);
               }));
    upstreams.push_back(std::move(created));
  }
  upstreams_ = std::move(upstreams);
  return {};
}

ResidentModel FleetCore::resident(const ModelConfig& config) const {
  ResidentModel model;
  model.name = config.name;
  model.policy = config.residency;
  const auto placed = layout_.models.find(config.name);
  if (placed != layout_.models.end()) model.needs = placed->second.needs;
  model.max_waiting = config.limits.max_queued;
  return model;
}

void FleetCore::add_model(const ModelConfig& config) {
  const std::string name = config.name;
  ModelEvents events;
  events.on_ready = [this, name] { was_loaded(name); };
  events.on_all_down = [this, name] { carry_out(residency_.restarting(name, now_ms())); };
  events.on_failed = [this, name](const std::string& why) { was_lost(name, why); };
  events.on_stopped = [this, name] { was_unloaded(name); };
  events.on_change = [this, name] { serve_waiting(name); };
  Model& model = models_[name];
  model.is_removed = false;
  if (!model.runtime) {
    model.runtime = std::make_unique<ModelRuntime>(
        loop_, name, log_file(config_.listen.log_dir, name), std::move(events));
  }
  carry_out(residency_.set_model(resident(config), now_ms()));
}

ModelRuntime::MakeSettings FleetCore::settings_maker(const std::string& model) {
  return [this, model](std::size_t index, PlacedReplica placed) {
    const ModelConfig* config = config_.find_model(model);
    WorkerSettings settings;
    settings.name = fmt::format("{}/{}", model, index);
    settings.model_name = model;
    settings.supervision = config_.supervision;
    if (config != nullptr) {
      settings.load_timeout_ms = config->residency.load_timeout_ms;
      if (const WorkerConfig* worker = config_.find_worker(config->worker)) {
        settings.health_path = worker->health_path;
      } else {
        settings.exit_codes = {{kExitBadInput, kExitDoesNotFit}, kExitDeviceFailed};
        settings.devices = placed.devices;
      }
    }
    settings.next_start = [this, model,
                           placed = std::move(placed)]() -> Result<WorkerSettings::Start> {
      const ModelConfig* current = config_.find_model(model);
      if (current == nullptr) return not_found("the configuration no longer has the model", model);
      return next_start(config_, *current, placed, options_.program, *folder_);
    };
    return settings;
  };
}

// ---- what Residency decides ----

void FleetCore::carry_out(ResidencyActions actions) {
  actions_.insert(actions_.end(), std::make_move_iterator(actions.begin()),
                  std::make_move_iterator(actions.end()));
  // What an action leads to comes behind what was decided before it.
  if (std::exchange(is_carrying_out_, true)) return;
  while (!actions_.empty()) {
    const ResidencyAction action = std::move(actions_.front());
    actions_.pop_front();
    carry_out(action);
  }
  is_carrying_out_ = false;
  schedule();
}

void FleetCore::carry_out(const ResidencyAction& action) {
  using Kind = ResidencyAction::Kind;
  switch (action.kind) {
    case Kind::kLoad:
      return begin_load(action.model);
    case Kind::kUnload:
    case Kind::kAbortLoad: {
      Model& model = models_[action.model];
      if (action.kind == Kind::kUnload) ++model.counters.unloads;
      return model.runtime->stop();
    }
    case Kind::kAdmit:
      return admit(action.request);
    case Kind::kRefuse:
      break;
  }
  if (action.request == 0) {
    const Error error{action.reason == ResidencyAction::Reason::kNeverFits ? ErrorCode::kDoesNotFit
                                                                           : ErrorCode::kBusy,
                      action.why,
                      action.model,
                      {},
                      {}};
    for (const auto& done : std::exchange(models_[action.model].on_loaded, {})) done(error);
    models_[action.model].was_settled = true;
    return;
  }
  refuse_by_residency(action);
}

// Where our own cannot, an upstream may.
void FleetCore::refuse_by_residency(const ResidencyAction& action) {
  using Reason = ResidencyAction::Reason;
  const auto pending = pending_.find(action.request);
  if (pending == pending_.end()) return;
  pending->second.is_resident = false;
  if (try_place(action.request, Choice::kUpstreams)) return;
  ApiError error{503, action.why, "unavailable_error", {}, {}, 0};
  error.retry_after_s = action.retry_after_ms > 0 ? seconds_of(action.retry_after_ms) : 0;
  if (action.reason == Reason::kQueueFull) {
    error.status = 429;
    error.type = "rate_limit_error";
    error.code = "queue_full";
    error.retry_after_s = std::max(1, error.retry_after_s);
  } else if (action.reason == Reason::kRemoved) {
    error.status = 404;
    error.code = "model_not_found";
  } else {
    error.code = action.reason == Reason::kNeverFits  ? "does_not_fit"
                 : action.reason == Reason::kFailed   ? failure_code(action.model)
                 : action.reason == Reason::kUnloaded ? "model_unloaded"
                                                      : "queue_timeout";
  }
  refuse(action.request, std::move(error));
}

void FleetCore::begin_load(const std::string& name) {
  Model& model = models_[name];
  ++model.counters.loads;
  const auto placed = layout_.models.find(name);
  if (placed == layout_.models.end()) {
    return loop_.post([this, name] { was_lost(name, "it has no place on this machine"); });
  }
  model.runtime->start(placed->second.replicas, settings_maker(name));
}

void FleetCore::was_loaded(const std::string& name) {
  Model& model = models_[name];
  model.was_settled = true;
  carry_out(residency_.loaded(name, now_ms()));
  for (const auto& done : std::exchange(model.on_loaded, {})) done({});
  serve_waiting(name);
}

void FleetCore::was_lost(const std::string& name, const std::string& why) {
  Model& model = models_[name];
  model.was_settled = true;
  spdlog::error("{} is given up: {}", name, why);
  carry_out(residency_.load_failed(name, why, now_ms()));
  const Error error{ErrorCode::kBusy, "the model could not be loaded: " + why, name, {}, {}};
  for (const auto& done : std::exchange(model.on_loaded, {})) done(error);
  for (const auto& done : std::exchange(model.on_unloaded, {})) done({});
  // Those that had been admitted and were waiting for a place: nobody comes to give them one.
  for (const RequestId id : std::exchange(for_places_[name], {})) {
    if (!pending_.contains(id) || try_place(id, Choice::kAll)) continue;
    refuse(id, {503,
                "the model could not be loaded: " + why,
                "unavailable_error",
                {},
                failure_code(name),
                seconds_of(config_.supervision.failed_cooldown_ms)});
  }
  after_stop(name);
}

// Clients are not told that a model failed where a device did.
const char* FleetCore::failure_code(const std::string& name) const {
  const auto model = models_.find(name);
  const bool was_device = model != models_.end() && model->second.runtime &&
                          model->second.runtime->was_lost_by_device();
  return was_device ? "device_failed" : "model_failed";
}

void FleetCore::was_unloaded(const std::string& name) {
  Model& model = models_[name];
  const auto view = residency_.view(name);
  // An aborted load ends in its workers' end as well.
  if (view && view->state == ModelState::kLoading && !is_stopping_) {
    return was_lost(name, "loading took too long");
  }
  carry_out(residency_.unloaded(name, now_ms()));
  for (const auto& done : std::exchange(model.on_unloaded, {})) done({});
  after_stop(name);
}

void FleetCore::after_stop(const std::string& name) {
  const auto model = models_.find(name);
  if (model != models_.end() && model->second.is_removed && !residency_.view(name)) {
    loop_.post([this, name] {
      const auto gone = models_.find(name);
      if (gone != models_.end() && gone->second.is_removed) models_.erase(gone);
    });
  }
  if (is_draining_) end_when_idle();
}

void FleetCore::schedule() {
  std::optional<std::int64_t> next = residency_.next_wakeup_ms();
  // Who waits for a place is looked at again now and then: a breaker closes without an event.
  const bool is_any_waiting =
      std::ranges::any_of(for_places_, [](const auto& entry) { return !entry.second.empty(); });
  if (is_any_waiting) next = std::min(next.value_or(INT64_MAX), now_ms() + kLookAgainMs);
  if (!next) return timer_.cancel();
  timer_.start(std::max<std::int64_t>(1, *next - now_ms() + 1), [this] { tick(); });
}

void FleetCore::tick() {
  const std::int64_t now = now_ms();
  carry_out(residency_.tick(now));
  for (const auto& [name, queue] : std::map(for_places_)) {
    for (const RequestId id : queue) {
      const auto pending = pending_.find(id);
      if (pending == pending_.end() || pending->second.deadline_ms > now) continue;
      refuse(id,
             {503, "no place became free in time", "unavailable_error", {}, "queue_timeout", 5});
    }
    serve_waiting(name);
  }
  schedule();
}

// ---- shutting down and by hand ----

void FleetCore::shut_down(std::function<void()> done) {
  is_draining_ = true;
  on_drained_ = std::move(done);
  for (const auto& [id, pending] : std::map(pending_)) refuse(id, draining_error());
  drain_timer_.start(config_.supervision.drain_timeout_ms, [this] { stop_all(); });
  end_when_idle();
}

void FleetCore::end_when_idle() {
  if (num_leases_ > 0 && !is_stopping_) return;
  if (!is_stopping_) return stop_all();
  for (const auto& [name, model] : models_) {
    if (model.runtime && !model.runtime->is_stopped()) return;
  }
  drain_timer_.cancel();
  if (on_drained_) loop_.post(std::exchange(on_drained_, nullptr));
}

void FleetCore::stop_all() {
  is_stopping_ = true;
  for (const auto& [name, model] : models_) {
    if (model.runtime && !model.runtime->is_stopped()) model.runtime->stop();
  }
  end_when_idle();
}

void FleetCore::load(const std::string& name, std::function<void(Status)> done) {
  const auto view = residency_.view(name);
  if (!view) return done(not_found("no such model", name));
  if (is_draining_) return done(Error{ErrorCode::kBusy, "the fleet is shutting down", {}, {}, {}});
  if (view->state == ModelState::kReady) return done({});
  models_[name].on_loaded.push_back(std::move(done));
  carry_out(residency_.load(name, now_ms()));
}

void FleetCore::unload(const std::string& name, bool force, std::function<void(Status)> done) {
  const auto view = residency_.view(name);
  if (!view) return done(not_found("no such model", name));
  if (view->num_waiting > 0 && !force) {
    const bool is_one = view->num_waiting == 1;
    return done(
        Error{ErrorCode::kBusy,
              fmt::format("{} request{} for the model; \"force\": true turns {} away",
                          view->num_waiting, is_one ? " waits" : "s wait", is_one ? "it" : "them"),
              name,
              {},
              {}});
  }
  const Error error{ErrorCode::kBusy, "the model was unloaded by hand meanwhile", name, {}, {}};
  for (const auto& loaded : std::exchange(models_[name].on_loaded, {})) loaded(error);
  const bool is_there = view->state != ModelState::kUnloaded && view->state != ModelState::kFailed;
  if (is_there) models_[name].on_unloaded.push_back(done);
  carry_out(residency_.unload(name, now_ms(), true));
  if (!is_there) done({});
}

WorkerLog* FleetCore::log(const std::string& name) {
  const auto model = models_.find(name);
  return model == models_.end() || !model->second.runtime ? nullptr : &model->second.runtime->log();
}

}  // namespace tandem
