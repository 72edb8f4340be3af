#pragma once

#include <functional>
#include <string>

#include "fleet/fleet_core.h"

namespace tandem {

struct FleetRunOptions {
  std::string config_path;  // of which `tandem fleet reload` finds the running fleet
  std::string program;      // tandem itself, for workers; empty: this program
  // Called once the ports are open, before any model is there; `port` of the first address.
  std::function<void(std::uint16_t port)> on_listening;
};

// Runs the fleet that `read` describes until SIGINT or SIGTERM, which drain it first; a second one
// ends it at once. SIGHUP reads and applies the configuration again; what cannot be applied leaves
// everything as it is. Blocks. Call from the main thread, before any other thread is there. Errors:
// those of `read`, kIo for addresses that cannot be listened on.
Status run_fleet(const FleetRunOptions& options, ReadFleet read);

// Tells the running fleet of this configuration file to read it again, as SIGHUP does. The outcome
// is in that fleet's log. Errors: kNotFound where none runs.
Status signal_reload(const std::string& config_path);

}  // namespace tandem
