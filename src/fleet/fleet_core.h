#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet/backend.h"
#include "fleet/background_thread.h"
#include "fleet/fleet_control.h"
#include "fleet/model_runtime.h"
#include "fleet/residency.h"
#include "fleet/traffic.h"

namespace tandem {

// A model as it was placed on the machine.
struct PlacedModel {
  std::vector<PlacedReplica> replicas;
  std::vector<std::int64_t> needs;  // bytes in each of the layout's pools
  std::int64_t context_tokens = 0;
};

// All models placed together: what a configuration comes to on this machine.
struct FleetLayout {
  std::map<std::string, PlacedModel> models;
  std::vector<std::int64_t> pool_bytes;
  std::vector<DeviceStatus> devices;  // one a pool, in their order
};

// What requests are told once the fleet drains.
ApiError draining_error();

// Reads a configuration and places it; blocks. Called on a thread of its own by reload().
using ReadFleet = std::function<Result<std::pair<FleetConfig, FleetLayout>>()>;

struct FleetCoreOptions {
  std::string program;  // tandem itself, for workers
  ReadFleet read;
  std::function<void()> on_reloaded;  // names, keys or ports may be others now
};

// The fleet without its HTTP side: models and their processes, who is in memory, and each request's
// way to a place. Decisions are Residency's and TrafficControl's; this carries them out. On the
// loop.
class FleetCore : public FleetControl {
 public:
  FleetCore(EventLoop& loop, FleetConfig config, FleetLayout layout,
            std::unique_ptr<RuntimeFolder> folder, FleetCoreOptions options);
  ~FleetCore() override;

  // Errors: those of Upstream::create.
  Status start();
  // Refuses new requests, lets the others end within drain_timeout_ms, ends all workers.
  void shut_down(std::function<void()> done);

  const FleetConfig& config() const override { return config_; }
  FleetStatus status() const override;
  void load(const std::string& model, std::function<void(Status)> done) override;
  void unload(const std::string& model, bool force, std::function<void(Status)> done) override;
  void reload(std::function<void(Status)> done) override;
  WorkerLog* log(const std::string& model) override;
  void count(const ProxiedRequest::Ending& ending) override;
  std::unique_ptr<Ticket> acquire(const Demand& demand,
                                  std::function<void(Grant grant)> granted) override;

 private:
  friend class FleetLease;
  friend class FleetTicket;
  struct Model {
    std::unique_ptr<ModelRuntime> runtime;  // nullptr: only upstreams serve it
    ModelCounters counters;
    std::vector<std::function<void(Status)>> on_loaded;
    std::vector<std::function<void(Status)>> on_unloaded;
    bool is_removed = false;
    bool was_settled = false;  // has been ready or failed once
  };
  struct Pending {
    Demand demand;
    std::function<void(Grant grant)> granted;
    std::int64_t deadline_ms = 0;
    bool is_resident = false;  // Residency knows it
  };

  // Which backends a request may go to.
  enum class Choice : std::uint8_t {
    kAll,        // replicas and upstreams; those for falling back on where no replica
                 // is ready
    kPeers,      // upstreams that share the load
    kUpstreams,  // all upstreams
  };

  void add_model(const ModelConfig& config);
  Status add_upstreams();
  ResidentModel resident(const ModelConfig& config) const;
  ModelRuntime::MakeSettings settings_maker(const std::string& model);
  void carry_out(ResidencyActions actions);
  void carry_out(const ResidencyAction& action);
  void refuse_by_residency(const ResidencyAction& action);
  const char* failure_code(const std::string& name) const;
  void begin_load(const std::string& model);
  void was_loaded(const std::string& model);
  void was_lost(const std::string& model, const std::string& why);
  void was_unloaded(const std::string& model);
  void after_stop(const std::string& model);
  void schedule();
  void tick();

  void admit(RequestId id);
  bool try_place(RequestId id, Choice choice);
  ApiError why_in_vain(const std::string& model,
                       const std::vector<std::shared_ptr<Backend>>& backends,
                       const TrafficControl::Chosen& chosen) const;
  void serve_waiting(const std::string& model);
  void grant(RequestId id, std::shared_ptr<Backend> backend);
  void refuse(RequestId id, ApiError error);
  void forget(RequestId id);
  void lease_ended(RequestId id, const Demand& demand, bool is_resident);
  std::int64_t max_running(const std::string& model) const;
  std::vector<std::shared_ptr<Backend>> backends_of(const std::string& model, Choice choice) const;
  const TrafficLimits& limits_of(const std::string& model) const;
  std::int64_t now_ms() const;

  Status apply(FleetConfig config, FleetLayout layout);
  void apply_models(const FleetConfig& before, const FleetLayout& placed_before);
  void apply_change(const ModelConfig& after, bool is_rebuilt, bool is_moved);
  void forget_removed(const FleetConfig& before);
  ModelStatus status_of(const std::string& name, const Model& model) const;
  void end_when_idle();
  void stop_all();

  EventLoop& loop_;
  FleetConfig config_;
  FleetLayout layout_;
  std::unique_ptr<RuntimeFolder> folder_;
  FleetCoreOptions options_;
  Residency residency_;
  TrafficControl traffic_;
  std::map<std::string, Model> models_;
  std::vector<std::shared_ptr<Upstream>> upstreams_;
  std::deque<ResidencyAction> actions_;  // to be carried out, in this order
  bool is_carrying_out_ = false;
  RequestId next_request_ = 1;
  std::map<RequestId, Pending> pending_;                     // without a place
  std::map<std::string, std::deque<RequestId>> for_places_;  // by model: admitted, waiting for one
  std::int32_t num_leases_ = 0;
  EventLoop::Timer timer_;
  EventLoop::Timer drain_timer_;
  bool is_draining_ = false;
  bool is_stopping_ = false;  // draining is over: workers are told to end
  bool is_reloading_ = false;
  std::function<void()> on_drained_;
  std::int64_t started_unix_s_ = 0;
  BackgroundThread reader_;
};

}  // namespace tandem
