#pragma once

#include <functional>
#include <string>

#include "fleet/dispatch.h"
#include "fleet/fleet_config.h"
#include "fleet/fleet_status.h"
#include "fleet/proxied_request.h"
#include "fleet/worker_log.h"

namespace tandem {

// What the HTTP side may ask of the fleet. On the loop; callbacks come there too, maybe at once.
class FleetControl : public Dispatcher {
 public:
  virtual const FleetConfig& config() const = 0;
  virtual FleetStatus status() const = 0;
  // Loads a model by hand: `done` once it is ready, or cannot be.
  virtual void load(const std::string& model, std::function<void(Status)> done) = 0;
  // Lets its running requests finish, then ends its processes. kBusy while requests wait for the
  // model, unless `force`, which refuses them.
  virtual void unload(const std::string& model, bool force, std::function<void(Status)> done) = 0;
  // Reads the configuration again.
  virtual void reload(std::function<void(Status)> done) = 0;
  // nullptr: no worker of ours serves this model.
  virtual WorkerLog* log(const std::string& model) = 0;
  virtual void count(const ProxiedRequest::Ending& ending) = 0;
};

}  // namespace tandem
