#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "fleet/dispatch.h"
#include "fleet/fleet_config.h"
#include "fleet/fleet_status.h"
#include "fleet/worker.h"
#include "fleet/worker_launch.h"

namespace tandem {

// Something that answers requests for a model: a replica of ours, or an upstream. Shared by those
// who hold a place there: a reload may take it away under them.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const std::string& name() const = 0;
  // The same as long as what is known of it holds: a new process has a new one.
  virtual std::string identity() const { return name(); }
  virtual std::int32_t max_running() const { return 0; }  // 0: no limit of its own
  virtual bool is_ready() const = 0;
  // Another process may soon be in its place: what it failed may be waited for.
  virtual bool may_be_followed() const { return false; }
  // nullptr where it is not ready.
  virtual std::shared_ptr<UpstreamClient> client() const = 0;
  virtual std::string remote_model(const std::string& model) const = 0;
  virtual std::string api_key() const { return {}; }
  virtual std::int64_t connect_timeout_ms() const { return 5'000; }
  virtual BackendStatus status() const = 0;

  // Of the requests at work here; for replicas also the watch against hangs.
  virtual void begin_request() { ++num_running_; }
  virtual void note_progress() {}
  virtual void end_request(LeaseEnd) { --num_running_; }
  std::int32_t num_running() const { return num_running_; }

 private:
  std::int32_t num_running_ = 0;
};

// A worker process and where it was placed.
class Replica : public Backend {
 public:
  Replica(EventLoop& loop, WorkerSettings settings, PlacedReplica placed, WorkerLog& log,
          Worker::Listener listener);

  const std::string& name() const override { return worker_.settings().name; }
  std::string identity() const override;
  bool is_ready() const override { return worker_.state() == WorkerState::kReady && !is_draining_; }
  // It may be dying, has been told to end, or is being replaced.
  bool may_be_followed() const override { return !is_ready() || worker_.is_in_doubt(); }
  std::shared_ptr<UpstreamClient> client() const override { return worker_.client(); }
  std::string remote_model(const std::string& model) const override { return model; }
  BackendStatus status() const override;
  void begin_request() override;
  void note_progress() override { worker_.note_progress(); }
  void end_request(LeaseEnd end) override;

  Worker& worker() { return worker_; }
  const Worker& worker() const { return worker_; }
  // Takes no further request; `idle` once the last one is over, maybe at once.
  void drain(std::function<void()> idle);
  bool is_draining() const { return is_draining_; }

 private:
  PlacedReplica placed_;
  Worker worker_;
  bool is_draining_ = false;
  std::function<void()> on_idle_;
};

// A server elsewhere, looked at now and then; its state says whether it lives, and nothing about
// how requests fare: that is for its breaker.
class Upstream : public Backend {
 public:
  // Errors: those of UpstreamClient. `on_change`: it came or went.
  static Result<std::shared_ptr<Upstream>> create(EventLoop& loop, const UpstreamConfig& config,
                                                  std::function<void()> on_change);
  const std::string& name() const override { return name_; }
  std::int32_t max_running() const override { return config_.max_concurrent; }
  bool is_ready() const override { return is_alive_; }
  std::shared_ptr<UpstreamClient> client() const override { return client_; }
  std::string remote_model(const std::string& model) const override;
  std::string api_key() const override { return config_.api_key; }
  std::int64_t connect_timeout_ms() const override { return config_.connect_timeout_ms; }
  BackendStatus status() const override;

  bool serves(const std::string& model) const;
  const UpstreamConfig& config() const { return config_; }

 private:
  Upstream(EventLoop& loop, const UpstreamConfig& config, std::function<void()> on_change);
  void check();
  void note_check(bool is_alive, const std::string& reason);

  UpstreamConfig config_;
  std::string name_;  // "upstream:" and its name
  std::function<void()> on_change_;
  std::shared_ptr<UpstreamClient> client_;
  EventLoop::Timer timer_;
  std::unique_ptr<UpstreamCall> check_;
  bool is_alive_ = true;  // until a check says otherwise: requests find out soon enough
  std::string reason_;
};

}  // namespace tandem
