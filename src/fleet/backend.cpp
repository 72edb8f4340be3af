#include "fleet/backend.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"

namespace tandem {

Replica::Replica(EventLoop& loop, WorkerSettings settings, PlacedReplica placed, WorkerLog& log,
                 Worker::Listener listener)
    : placed_(std::move(placed)), worker_(loop, std::move(settings), log, std::move(listener)) {}

std::string Replica::identity() const {
  return fmt::format("{}#{}", name(), worker_.pid());
}

BackendStatus Replica::status() const {
  BackendStatus status;
  status.name = name();
  status.state = is_draining_ && worker_.state() == WorkerState::kReady
                     ? "draining"
                     : std::string(tandem::name_of(worker_.state()));
  status.reason = worker_.reason();
  status.pid = worker_.pid();
  status.devices = placed_.shares;
  status.restarts = worker_.num_restarts();
  status.failed_device = worker_.failed_device();
  status.device_failures = worker_.num_device_failures();
  status.load_s = static_cast<double>(worker_.load_us()) / 1e6;
  status.running = num_running();
  return status;
}

void Replica::begin_request() {
  Backend::begin_request();
  worker_.begin_request();
}

void Replica::end_request(LeaseEnd end) {
  Backend::end_request(end);
  worker_.end_request();
  if (end == LeaseEnd::kTimedOut) worker_.suspect();
  if (end == LeaseEnd::kFailed) worker_.look_again();
  if (num_running() == 0 && on_idle_) std::exchange(on_idle_, nullptr)();
}

void Replica::drain(std::function<void()> idle) {
  is_draining_ = true;
  if (num_running() == 0) return idle();
  on_idle_ = std::move(idle);
}

Result<std::shared_ptr<Upstream>> Upstream::create(EventLoop& loop, const UpstreamConfig& config,
                                                   std::function<void()> on_change) {
  std::shared_ptr<Upstream> upstream(new Upstream(loop, config, std::move(on_change)));
  UpstreamAddress address;
  address.host = config.host;
  address.port = config.port;
  address.tls = config.tls;
  address.ca_file = config.ca_file;
  address.base_path = config.base_path;
  TANDEM_TRY(auto client, UpstreamClient::create(loop, std::move(address)));
  upstream->client_ = std::move(client);
  upstream->check();
  return upstream;
}

Upstream::Upstream(EventLoop& loop, const UpstreamConfig& config, std::function<void()> on_change)
    : config_(config),
      name_("upstream:" + config.name),
      on_change_(std::move(on_change)),
      timer_(loop) {}

std::string Upstream::remote_model(const std::string& model) const {
  for (const UpstreamModel& served : config_.models) {
    if (served.name == model) return served.remote_name;
  }
  return model;
}

bool Upstream::serves(const std::string& model) const {
  return std::ranges::any_of(config_.models,
                             [&](const UpstreamModel& served) { return served.name == model; });
}

BackendStatus Upstream::status() const {
  BackendStatus status;
  status.name = name_;
  status.state = is_alive_ ? "ready" : "failed";
  status.reason = reason_;
  status.running = num_running();
  return status;
}

void Upstream::check() {
  UpstreamRequest request;
  request.target = config_.health_path;
  if (!config_.api_key.empty()) {
    request.headers.emplace_back("Authorization", "Bearer " + config_.api_key);
  }
  request.connect_timeout_ms = config_.connect_timeout_ms;
  request.deadline_us =
      monotonic_us() + std::max(config_.connect_timeout_ms, config_.health_interval_ms) * 1000;
  auto status = std::make_shared<int>(0);
  UpstreamEvents events;
  events.on_head = [status](const UpstreamHead& head) { *status = head.status; };
  events.on_body = [](const std::string&) {};
  events.on_end = [this, status] {
    note_check(*status / 100 == 2, fmt::format("{} says {}", config_.health_path, *status));
  };
  events.on_failure = [this](const UpstreamFailure& failure) {
    note_check(false, failure.message);
  };
  check_ = client_->call(std::move(request), std::move(events));
}

void Upstream::note_check(bool is_alive, const std::string& reason) {
  reason_ = is_alive ? std::string() : reason;
  timer_.start(config_.health_interval_ms, [this] { check(); });
  if (std::exchange(is_alive_, is_alive) == is_alive) return;
  spdlog::log(is_alive ? spdlog::level::info : spdlog::level::warn, "{}: {}", name_,
              is_alive ? "is there again" : reason);
  on_change_();
}

}  // namespace tandem
