#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fleet/background_thread.h"
#include "fleet/fleet_control.h"
#include "server/http/access_guard.h"
#include "server/http/http_exchange.h"

namespace tandem {

// The fleet's HTTP side: who may do what, which model a request is for, and the paths of its own. A
// model is only ever found by the names in the configuration; nothing a client sends becomes a path
// or a command. On the loop.
class Router {
 public:
  // `control` must outlive the router.
  // count_connections: of clients, for what the fleet shows of itself.
  static Result<std::unique_ptr<Router>> create(EventLoop& loop, FleetControl& control,
                                                std::function<std::int32_t()> count_connections);

  // port_model: the model whose own port the request came to; empty: the fleet's port.
  void handle(const std::shared_ptr<HttpExchange>& exchange, const std::string& port_model);
  // What every answer bears.
  void decorate(const HttpRequest& request, HttpResponse& response) const;
  // Takes over the configuration's names and origins, which may have changed.
  Status refresh();

 private:
  using Exchange = std::shared_ptr<HttpExchange>;
  // A client, as its key tells.
  struct Client {
    const KeyConfig* key = nullptr;  // nullptr: no keys are configured
    bool may_use(const std::string& model) const;
    bool is_admin() const { return key != nullptr && key->admin; }
  };

  Router(EventLoop& loop, FleetControl& control) : loop_(loop), control_(control) {}
  FleetStatus status() const;
  std::optional<Client> identify(const HttpRequest& request) const;
  bool serve_own(const Exchange& exchange, const Client& client);
  bool serve_admin(const Exchange& exchange, const Client& client);
  void serve_health(HttpExchange& exchange) const;
  void serve_models(HttpExchange& exchange, const Client& client) const;
  void serve_logs(const Exchange& exchange);
  void change_residency(const Exchange& exchange, bool load);
  void route(const Exchange& exchange, const Client& client, const std::string& port_model);
  void pass_on(const Exchange& exchange, const Client& client, const std::string& port_model,
               Result<RequestScan> scan);
  Result<std::string> model_of(const HttpRequest& request, const RequestScan& scan,
                               const std::string& port_model) const;

  EventLoop& loop_;
  FleetControl& control_;
  std::function<std::int32_t()> count_connections_;
  BackgroundThread scanner_;            // of large bodies, which would hold all others up
  std::unique_ptr<AccessGuard> guard_;  // of hosts and origins; keys are looked at here
};

// The model-bound paths of `tandem serve` that are passed on.
bool is_passed_on(std::string_view method, std::string_view path);

}  // namespace tandem
