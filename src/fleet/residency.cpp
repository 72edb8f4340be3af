#include "fleet/residency.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace tandem {
namespace {

using Bytes = std::vector<std::int64_t>;
using Kind = ResidencyAction::Kind;
using Reason = ResidencyAction::Reason;

constexpr std::int64_t kBusyRetryMs = 1'000;  // what a full queue tells its clients

void add(Bytes& sum, const Bytes& more) {
  for (std::size_t pool = 0; pool < more.size(); ++pool) sum[pool] += more[pool];
}

}  // namespace

std::string_view name_of(ModelState state) {
  switch (state) {
    case ModelState::kUnloaded:
      return "unloaded";
    case ModelState::kLoading:
      return "loading";
    case ModelState::kReady:
      return "ready";
    case ModelState::kDraining:
      return "draining";
    case ModelState::kFailed:
      return "failed";
  }
  return "unknown";
}

Residency::Residency(std::vector<std::int64_t> pool_capacities, ResidencyOptions options)
    : capacities_(std::move(pool_capacities)), options_(options) {}

std::int64_t Residency::Model::wanted_since() const {
  const std::int64_t never = std::numeric_limits<std::int64_t>::max();
  return std::min(waiting.empty() ? never : waiting.front().since_ms,
                  wanted_since_ms.value_or(never));
}

Residency::Model* Residency::find(std::string_view name) {
  const auto found = models_.find(name);
  return found == models_.end() ? nullptr : &found->second;
}

void Residency::enter(Model& model, ModelState state) {
  model.state = state;
  model.since_ms = now_ms_;
  model.unload_told = model.abort_told = model.yields = false;
  if (state == ModelState::kLoading && model.held.empty()) model.held = model.is.needs;
  if (state == ModelState::kUnloaded || state == ModelState::kFailed) model.held.clear();
  if (state == ModelState::kReady || state == ModelState::kFailed) model.wanted_since_ms.reset();
  if (state == ModelState::kReady) model.last_used_ms = now_ms_;
  if (state != ModelState::kFailed) model.failure.clear();
}

void Residency::act(Kind kind, const Model& model, RequestId request) {
  actions_.push_back({kind, model.is.name, request, Reason::kNone, {}, 0});
}

void Residency::refuse(const Model& model, RequestId request, Reason reason, std::string why,
                       std::int64_t retry_after_ms) {
  requests_.erase(request);
  actions_.push_back(
      {Kind::kRefuse, model.is.name, request, reason, std::move(why), retry_after_ms});
}

void Residency::refuse_waiting(Model& model, Reason reason, const std::string& why,
                               std::int64_t retry_after_ms) {
  for (const Waiting& waiting : std::exchange(model.waiting, {})) {
    refuse(model, waiting.request, reason, why, retry_after_ms);
  }
  if (std::exchange(model.wanted_since_ms, std::nullopt)) {
    refuse(model, 0, reason, why, retry_after_ms);
  }
}

ResidencyActions Residency::set_model(ResidentModel model, std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  model.needs.resize(capacities_.size(), 0);
  const Model* known = find(model.name);
  if (known != nullptr) model.load_s = known->is.load_s;
  Model& slot = models_[model.name];
  slot.removed = false;
  slot.is = std::move(model);
  return settle();
}

ResidencyActions Residency::remove_model(std::string_view name, std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  if (Model* model = find(name)) {
    refuse_waiting(*model, Reason::kRemoved, "the model was removed from the configuration", 0);
    model->removed = true;
    const bool in_memory =
        model->state == ModelState::kLoading || model->state == ModelState::kReady;
    if (in_memory) enter(*model, ModelState::kDraining);
  }
  return settle();
}

ResidencyActions Residency::add_request(RequestId request, std::string_view name,
                                        std::int64_t now_ms, std::int64_t deadline_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  TANDEM_CHECK(request != 0 && !requests_.contains(request), "a request's id is in use");
  Model* model = find(name);
  if (model == nullptr || model->removed) {
    actions_.push_back({Kind::kRefuse, std::string(name), request, Reason::kRemoved,
                        "the configuration has no such model", 0});
    return settle();
  }
  const std::int64_t retry_in_ms = model->since_ms + options_.failed_cooldown_ms - now_ms_;
  const bool at_once = model->state == ModelState::kReady && !model->yields;
  if (model->state == ModelState::kFailed && retry_in_ms > 0) {
    refuse(*model, request, Reason::kFailed, model->failure, retry_in_ms);
  } else if (!at_once &&
             static_cast<std::int32_t>(model->waiting.size()) >= model->is.max_waiting) {
    refuse(*model, request, Reason::kQueueFull,
           fmt::format("{} requests wait for the model already", model->waiting.size()),
           kBusyRetryMs);
  } else {
    requests_[request] = {model->is.name, false};
    model->waiting.push_back({request, now_ms_, deadline_ms});
  }
  return settle();
}

ResidencyActions Residency::end_request(RequestId request, std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  const auto living = requests_.find(request);
  if (living == requests_.end()) return settle();
  Model& model = models_.at(living->second.model);
  if (living->second.is_admitted) {
    --model.num_active;
    model.last_used_ms = now_ms_;
  } else {
    std::erase_if(model.waiting, [&](const Waiting& entry) { return entry.request == request; });
  }
  requests_.erase(living);
  return settle();
}

ResidencyActions Residency::load(std::string_view name, std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  Model* model = find(name);
  if (model == nullptr || model->removed) return settle();
  if (model->state == ModelState::kFailed) enter(*model, ModelState::kUnloaded);
  const bool is_there = model->state == ModelState::kLoading || model->state == ModelState::kReady;
  if (!is_there && !model->wanted_since_ms) model->wanted_since_ms = now_ms_;
  return settle();
}

ResidencyActions Residency::load_startup_models(std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  for (auto& [name, model] : models_) {
    const bool wanted = !model.is.policy.on_demand && model.state == ModelState::kUnloaded;
    if (wanted && !model.wanted_since_ms) model.wanted_since_ms = now_ms_;
  }
  return settle();
}

ResidencyActions Residency::unload(std::string_view name, std::int64_t now_ms, bool dismiss) {
  now_ms_ = std::max(now_ms_, now_ms);
  if (Model* model = find(name)) {
    model->wanted_since_ms.reset();
    if (dismiss) {
      refuse_waiting(*model, Reason::kUnloaded, "the model was unloaded by hand", kBusyRetryMs);
    }
    const bool in_memory =
        model->state == ModelState::kLoading || model->state == ModelState::kReady;
    if (in_memory) enter(*model, ModelState::kDraining);
  }
  return settle();
}

ResidencyActions Residency::loaded(std::string_view name, std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  Model* model = find(name);
  // Too late where the model has been told to go since.
  if (model != nullptr && model->state == ModelState::kLoading) {
    model->is.load_s = static_cast<double>(now_ms_ - model->since_ms) / 1000;
    enter(*model, ModelState::kReady);
  }
  return settle();
}

ResidencyActions Residency::load_failed(std::string_view name, const std::string& why,
                                        std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  Model* model = find(name);
  if (model == nullptr) return settle();
  if (model->state == ModelState::kDraining) {
    enter(*model, ModelState::kUnloaded);
  } else if (model->state == ModelState::kLoading || model->state == ModelState::kReady) {
    model->failure = why;
    refuse_waiting(*model, Reason::kFailed, why, options_.failed_cooldown_ms);
    enter(*model, ModelState::kFailed);
  }
  return settle();
}

ResidencyActions Residency::unloaded(std::string_view name, std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  Model* model = find(name);
  if (model != nullptr && model->state == ModelState::kDraining) {
    enter(*model, ModelState::kUnloaded);
  }
  return settle();
}

ResidencyActions Residency::restarting(std::string_view name, std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  Model* model = find(name);
  if (model != nullptr && model->state == ModelState::kReady) {
    enter(*model, ModelState::kLoading);
  }
  return settle();
}

ResidencyActions Residency::tick(std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  return settle();
}

ResidencyActions Residency::settle() {
  std::erase_if(models_, [](const auto& entry) {
    const Model& model = entry.second;
    return model.removed && model.num_active == 0 && model.held.empty();
  });
  for (auto& [name, model] : models_) keep_deadlines(model);
  load_wanted();
  admit_waiting();
  finish_drains();
  return std::exchange(actions_, {});
}

void Residency::keep_deadlines(Model& model) {
  const auto overdue = [&](const Waiting& entry) { return entry.deadline_ms <= now_ms_; };
  // A ready model takes its waiting requests in this very step.
  const bool is_about_to_admit = model.state == ModelState::kReady && !model.yields;
  for (const Waiting& entry : is_about_to_admit ? std::deque<Waiting>{} : model.waiting) {
    if (!overdue(entry)) continue;
    refuse(model, entry.request, Reason::kDeadline,
           fmt::format("the model is {} and the request waited {} for it", name_of(model.state),
                       format_seconds(static_cast<double>(now_ms_ - entry.since_ms) / 1000)),
           kBusyRetryMs);
  }
  if (!is_about_to_admit) std::erase_if(model.waiting, overdue);
  const ResidencyPolicy& policy = model.is.policy;
  const bool is_unused = model.is_idle() && model.waiting.empty() && !policy.pinned &&
                         policy.idle_unload_ms > 0 &&
                         now_ms_ - model.last_used_ms >= policy.idle_unload_ms;
  if (is_unused) enter(model, ModelState::kDraining);
  const bool is_slow = model.state == ModelState::kLoading && !model.abort_told &&
                       now_ms_ - model.since_ms >= policy.load_timeout_ms;
  if (is_slow) {
    act(Kind::kAbortLoad, model);
    model.abort_told = true;
  }
}

void Residency::finish_drains() {
  for (auto& [name, model] : models_) {
    if (model.state != ModelState::kDraining || model.num_active > 0 || model.unload_told) continue;
    act(Kind::kUnload, model);
    model.unload_told = true;
  }
}

void Residency::admit_waiting() {
  for (auto& [name, model] : models_) {
    if (model.state != ModelState::kReady || model.yields) continue;
    for (const Waiting& waiting : std::exchange(model.waiting, {})) {
      requests_.at(waiting.request).is_admitted = true;
      ++model.num_active;
      model.last_used_ms = now_ms_;
      act(Kind::kAdmit, model, waiting.request);
    }
  }
}

std::optional<Residency::View> Residency::view(std::string_view name) const {
  const auto found = models_.find(name);
  if (found == models_.end()) return std::nullopt;
  const Model& model = found->second;
  return View{model.state, model.num_active, static_cast<std::int32_t>(model.waiting.size()),
              model.failure};
}

std::vector<std::int64_t> Residency::used_bytes() const {
  return held_bytes([](const Model&) { return true; });
}

std::vector<std::int64_t> Residency::held_bytes(bool (*counts)(const Model&)) const {
  Bytes sum(capacities_.size(), 0);
  for (const auto& [name, model] : models_) {
    if (counts(model)) add(sum, model.held);
  }
  return sum;
}

std::optional<std::int64_t> Residency::next_wakeup_ms() const {
  std::optional<std::int64_t> next;
  const auto at = [&](std::int64_t time) {
    if (time > now_ms_ && (!next || time < *next)) next = time;
  };
  for (const auto& [name, model] : models_) {
    for (const Waiting& waiting : model.waiting) at(waiting.deadline_ms);
    const ResidencyPolicy& policy = model.is.policy;
    if (model.is_idle() && !policy.pinned && policy.idle_unload_ms > 0) {
      at(model.last_used_ms + policy.idle_unload_ms);
    }
    if (model.state == ModelState::kLoading) at(model.since_ms + policy.load_timeout_ms);
    // Who waits may ask others to yield, once both have been there long enough.
    if (model.is_wanted() && model.held.empty()) at(model.wanted_since() + options_.yield_after_ms);
    if (model.state == ModelState::kReady) at(model.since_ms + options_.yield_after_ms);
  }
  return next;
}

}  // namespace tandem
