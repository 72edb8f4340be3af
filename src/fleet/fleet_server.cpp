#include "fleet/fleet_server.h"

#include <spdlog/spdlog.h>

namespace tandem {

Result<std::unique_ptr<FleetServer>> FleetServer::start(EventLoop& loop, FleetControl& control) {
  std::unique_ptr<FleetServer> server(new FleetServer(loop, control));
  TANDEM_TRY(server->router_, Router::create(loop, control, [self = server.get()] {
               return self->num_connections();
             }));
  for (const ListenAddress& address : control.config().listen.addresses) {
    TANDEM_TRY(auto listening, server->listen(address, {}));
    server->servers_.push_back(std::move(listening));
  }
  TANDEM_TRY_STATUS(server->open_model_ports());
  return server;
}

Result<std::unique_ptr<HttpServer>> FleetServer::listen(const ListenAddress& address,
                                                        const std::string& port_model) {
  const FleetListen& listen = control_.config().listen;
  HttpServerOptions options;
  options.host = address.host;
  options.port = address.port;
  options.loop = &loop_;
  options.max_body_bytes = static_cast<std::uint64_t>(listen.max_body_bytes);
  options.max_connections = listen.max_connections;
  options.certificate_file = listen.certificate_file;
  options.key_file = listen.key_file;
  // Streams are paused where clients do not read; this is for what cannot be.
  options.max_unsent_bytes = 8 * 1024 * 1024;
  options.make_error = [](int status, const std::string& message) {
    return error_response({status, message, "invalid_request_error", {}, {}, 0}, Dialect::kOpenAi);
  };
  options.decorate = [this](const HttpRequest& request, HttpResponse& response) {
    router_->decorate(request, response);
  };
  return HttpServer::start(std::move(options),
                           [this, port_model](const std::shared_ptr<HttpExchange>& exchange) {
                             router_->handle(exchange, port_model);
                           });
}

Status FleetServer::open_model_ports() {
  for (const ModelConfig& model : control_.config().models) {
    if (!model.listen || model_ports_.contains(model.name)) continue;
    TANDEM_TRY(auto server, listen(*model.listen, model.name));
    model_ports_[model.name] = {*model.listen, std::move(server)};
  }
  return {};
}

void FleetServer::refresh() {
  std::erase_if(model_ports_, [this](const auto& entry) {
    const ModelConfig* model = control_.config().find_model(entry.first);
    return model == nullptr || model->name != entry.first || model->listen != entry.second.address;
  });
  if (const Status status = router_->refresh(); !status.ok()) {
    spdlog::error("{}", status.error().to_string());
  }
  if (const Status status = open_model_ports(); !status.ok()) {
    spdlog::error("a model's own port: {}", status.error().to_string());
  }
}

std::int32_t FleetServer::num_connections() const {
  std::int32_t count = 0;
  for (const auto& server : servers_) count += server->num_connections();
  for (const auto& [name, port] : model_ports_) count += port.server->num_connections();
  return count;
}

void FleetServer::stop_accepting() {
  for (const auto& server : servers_) server->stop_accepting();
  for (const auto& [name, port] : model_ports_) port.server->stop_accepting();
}

}  // namespace tandem
