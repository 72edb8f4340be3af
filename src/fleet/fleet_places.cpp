// FleetCore: each request's way to a place.

#include <algorithm>
#include <utility>

#include "fleet/fleet_core.h"

namespace tandem {
namespace {

// Where every backend fails but one is tried again within this, requests wait for what comes of it.
constexpr std::int64_t kSoonMs = 500;

}  // namespace

ApiError draining_error() {
  return {503, "the fleet is shutting down", "unavailable_error", {}, "draining", 5};
}

// A place in the fleet's queues.
class FleetTicket : public Ticket {
 public:
  FleetTicket(FleetCore& fleet, RequestId id) : fleet_(fleet), id_(id) {}
  ~FleetTicket() override { fleet_.forget(id_); }

 private:
  FleetCore& fleet_;
  RequestId id_;
};

class FleetLease : public Lease {
 public:
  FleetLease(FleetCore& fleet, RequestId id, Demand demand, bool is_resident,
             std::shared_ptr<Backend> backend, const TrafficLimits& limits)
      : fleet_(fleet),
        id_(id),
        demand_(std::move(demand)),
        is_resident_(is_resident),
        backend_(std::move(backend)),
        identity_(backend_->identity()),
        client_(backend_->client()),
        remote_model_(backend_->remote_model(demand_.model)),
        api_key_(backend_->api_key()),
        limits_(limits) {
    ++fleet_.num_leases_;
    backend_->begin_request();
    work_ = fleet_.traffic_.began(identity_, demand_, fleet_.now_ms());
  }
  ~FleetLease() override { finish(LeaseEnd::kCancelled); }

  UpstreamClient& client() override { return *client_; }
  const std::string& backend() const override { return backend_->name(); }
  std::string identity() const override { return identity_; }
  const std::string& remote_model() const override { return remote_model_; }
  const std::string& api_key() const override { return api_key_; }
  const TrafficLimits& limits() const override { return limits_; }
  std::int64_t connect_timeout_ms() const override { return backend_->connect_timeout_ms(); }
  void note_progress(std::int64_t num_events) override {
    backend_->note_progress();
    num_events_ += num_events;
    const std::int64_t tokens = std::min(num_events, work_.tokens);
    work_.tokens -= tokens;
    if (tokens > 0) fleet_.traffic_.worked_off(identity_, tokens);
  }
  void finish(LeaseEnd end) override {
    if (std::exchange(is_over_, true)) return;
    --fleet_.num_leases_;
    fleet_.traffic_.ended(identity_, demand_, work_, num_events_, end, fleet_.now_ms());
    backend_->end_request(end);
    fleet_.lease_ended(id_, demand_, is_resident_);
  }

 private:
  FleetCore& fleet_;
  const RequestId id_;
  const Demand demand_;
  const bool is_resident_;
  const std::shared_ptr<Backend> backend_;
  const std::string identity_;
  const std::shared_ptr<UpstreamClient> client_;
  const std::string remote_model_;
  const std::string api_key_;
  const TrafficLimits limits_;
  std::int64_t num_events_ = 0;
  TrafficControl::Work work_;  // what is left of it
  bool is_over_ = false;
};

const TrafficLimits& FleetCore::limits_of(const std::string& model) const {
  const ModelConfig* config = config_.find_model(model);
  return config != nullptr ? config->limits : config_.limits;
}

std::unique_ptr<Ticket> FleetCore::acquire(const Demand& demand,
                                           std::function<void(Grant grant)> granted) {
  if (is_draining_) {
    granted(draining_error());
    return nullptr;
  }
  const std::int64_t now = now_ms();
  if (auto error = traffic_.admit(demand, now)) {
    granted(std::move(*error));
    return nullptr;
  }
  const RequestId id = next_request_++;
  Pending pending{demand, std::move(granted), now + limits_of(demand.model).queue_timeout_ms,
                  false};
  if (demand.deadline_us > 0) {
    pending.deadline_ms = std::min(pending.deadline_ms, demand.deadline_us / 1000);
  }
  const std::int64_t deadline = pending.deadline_ms;
  pending_.emplace(id, std::move(pending));
  auto ticket = std::make_unique<FleetTicket>(*this, id);
  const auto view = residency_.view(demand.model);
  const bool is_there = view && view->state == ModelState::kReady;
  if (!view || (!is_there && try_place(id, Choice::kPeers))) {
    if (!view) admit(id);
  } else if (!is_there && !demand.may_load) {
    refuse(id, {503, "the model is not loaded", "unavailable_error", {}, "not_loaded", 0});
  } else {
    pending_.at(id).is_resident = true;
    carry_out(residency_.add_request(id, demand.model, now, deadline));
  }
  return ticket;
}

// From now on only a place is wanted.
void FleetCore::admit(RequestId id) {
  const auto pending = pending_.find(id);
  if (pending == pending_.end()) return;
  const std::string model = pending->second.demand.model;
  std::deque<RequestId>& queue = for_places_[model];
  if (static_cast<std::int32_t>(queue.size()) > limits_of(model).max_queued) {
    return refuse(
        id,
        {429, "too many requests wait for this model", "rate_limit_error", {}, "queue_full", 1});
  }
  queue.push_back(id);
  serve_waiting(model);
  if (pending_.contains(id)) schedule();
}

std::vector<std::shared_ptr<Backend>> FleetCore::backends_of(const std::string& name,
                                                             Choice choice) const {
  std::vector<std::shared_ptr<Backend>> backends;
  const auto model = models_.find(name);
  const bool with_ours = choice == Choice::kAll && model != models_.end() && model->second.runtime;
  if (with_ours) {
    for (const auto& replica : model->second.runtime->replicas()) backends.push_back(replica);
  }
  const bool has_own = std::ranges::any_of(backends, [](const auto& b) { return b->is_ready(); });
  for (const auto& upstream : upstreams_) {
    if (!upstream->serves(name)) continue;
    const bool is_wanted = !upstream->config().fallback || choice == Choice::kUpstreams || !has_own;
    if (is_wanted && !(choice == Choice::kPeers && upstream->config().fallback)) {
      backends.push_back(upstream);
    }
  }
  return backends;
}

// False: nobody can take it now.
bool FleetCore::try_place(RequestId id, Choice choice) {
  const Demand& demand = pending_.at(id).demand;
  const auto backends = backends_of(demand.model, choice);
  const auto chosen = traffic_.choose(demand, backends, max_running(demand.model), now_ms());
  if (chosen.backend) {
    grant(id, chosen.backend);
    return true;
  }
  if (choice != Choice::kAll || traffic_.is_key_full(demand)) return false;
  const ApiError error = why_in_vain(demand.model, backends, chosen);
  if (error.message.empty()) return false;
  refuse(id, error);
  return true;
}

// Why waiting for one of `backends` is no use; without a message where it is.
ApiError FleetCore::why_in_vain(const std::string& model,
                                const std::vector<std::shared_ptr<Backend>>& backends,
                                const TrafficControl::Chosen& chosen) const {
  ApiError error{503, {}, "unavailable_error", {}, "no_backend", 2};
  const bool is_any_ready =
      std::ranges::any_of(backends, [](const auto& b) { return b->is_ready(); });
  // A process that dies is met by requests before its end is noticed: they wait for its successor.
  const bool is_any_followed =
      std::ranges::any_of(backends, [](const auto& b) { return b->may_be_followed(); });
  if (is_any_followed) return error;
  if (chosen.all_tried) {
    error.message = "every backend of this model has failed the request";
  } else if (chosen.all_broken && chosen.next_try_in_ms > kSoonMs) {
    error.message = "requests to this model have failed lately; one will try again soon";
    error.code = "backend_failing";
    error.retry_after_s = static_cast<std::int32_t>(1 + chosen.next_try_in_ms / 1000);
  } else if (!is_any_ready && !residency_.view(model)) {
    error.message = "no upstream of this model answers";
    error.retry_after_s = 5;
  }
  return error;
}

// In their order; who waits for its own key alone does not hold the others up.
void FleetCore::serve_waiting(const std::string& model) {
  const auto waiting = for_places_.find(model);
  if (waiting == for_places_.end() || waiting->second.empty()) return;
  const std::deque<RequestId> queue = waiting->second;
  for (const RequestId id : queue) {
    const auto pending = pending_.find(id);
    if (pending == pending_.end()) continue;
    if (!try_place(id, Choice::kAll) && !traffic_.is_key_full(pending->second.demand)) return;
  }
}

// 0: as many as the upstreams take.
std::int64_t FleetCore::max_running(const std::string& name) const {
  const ModelConfig* config = config_.find_model(name);
  const std::int32_t limit = limits_of(name).max_concurrent;
  if (limit > 0 || config == nullptr) return limit;
  std::int64_t total = 0;
  if (const auto placed = layout_.models.find(name); placed != layout_.models.end()) {
    total = static_cast<std::int64_t>(placed->second.replicas.size()) *
            config->placement.plan.max_sequences;
  }
  for (const auto& upstream : upstreams_) {
    if (upstream->serves(name)) total += upstream->max_running();
  }
  return total;
}

void FleetCore::grant(RequestId id, std::shared_ptr<Backend> backend) {
  auto node = pending_.extract(id);
  Pending& pending = node.mapped();
  std::erase(for_places_[pending.demand.model], id);
  auto lease = std::make_unique<FleetLease>(*this, id, pending.demand, pending.is_resident,
                                            std::move(backend), limits_of(pending.demand.model));
  pending.granted(std::unique_ptr<Lease>(std::move(lease)));
}

void FleetCore::refuse(RequestId id, ApiError error) {
  auto node = pending_.extract(id);
  if (node.empty()) return;
  Pending& pending = node.mapped();
  std::erase(for_places_[pending.demand.model], id);
  traffic_.gave_up(pending.demand);
  if (pending.is_resident) carry_out(residency_.end_request(id, now_ms()));
  pending.granted(std::move(error));
}

// Its client went, or it has what it wanted.
void FleetCore::forget(RequestId id) {
  auto node = pending_.extract(id);
  if (node.empty()) return;
  std::erase(for_places_[node.mapped().demand.model], id);
  traffic_.gave_up(node.mapped().demand);
  if (node.mapped().is_resident) carry_out(residency_.end_request(id, now_ms()));
}

void FleetCore::lease_ended(RequestId id, const Demand& demand, bool is_resident) {
  if (is_resident) carry_out(residency_.end_request(id, now_ms()));
  serve_waiting(demand.model);
  // Others of its key may have waited for it, at other models.
  if (traffic_.limits_key(demand.key)) {
    for (const auto& [name, model] : models_) serve_waiting(name);
  }
  if (is_draining_) end_when_idle();
}

}  // namespace tandem
