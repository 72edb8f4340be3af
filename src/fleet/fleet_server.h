#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fleet/fleet_control.h"
#include "fleet/router.h"
#include "server/http/http_server.h"

namespace tandem {

// The ports that a fleet is reached on: its own, and those of models that have one. On the loop.
class FleetServer {
 public:
  // Errors: those of HttpServer and Router. `control` must outlive the server.
  static Result<std::unique_ptr<FleetServer>> start(EventLoop& loop, FleetControl& control);

  std::uint16_t port() const { return servers_.front()->port(); }
  std::int32_t num_connections() const;
  // Opens and closes models' ports as the configuration now has them.
  void refresh();
  void stop_accepting();

 private:
  FleetServer(EventLoop& loop, FleetControl& control) : loop_(loop), control_(control) {}
  Result<std::unique_ptr<HttpServer>> listen(const ListenAddress& address,
                                             const std::string& port_model);
  Status open_model_ports();

  struct ModelPort {
    ListenAddress address;
    std::unique_ptr<HttpServer> server;
  };

  EventLoop& loop_;
  FleetControl& control_;
  std::unique_ptr<Router> router_;
  std::vector<std::unique_ptr<HttpServer>> servers_;
  std::map<std::string, ModelPort> model_ports_;  // by the model's name
};

}  // namespace tandem
