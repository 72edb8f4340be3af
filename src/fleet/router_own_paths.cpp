// Router: the paths that no model answers.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fleet/router.h"
#include "fleet/router_answers.h"

namespace tandem {

void respond_json(HttpExchange& exchange, std::string body) {
  exchange.respond({200, "application/json; charset=utf-8", std::move(body), {}});
}

ApiError no_such_model(const std::string& name) {
  return {404,
          "no model is called " +
              nlohmann::json(name).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
          "invalid_request_error",
          "model",
          "model_not_found",
          0};
}

namespace {

// Of a load or unload by hand.
ApiError residency_error(const Error& error, bool load) {
  ApiError result = api_error_of(error);
  result.code.clear();
  switch (error.code) {
    case ErrorCode::kDoesNotFit:
      result.status = 409;
      break;
    case ErrorCode::kNotFound:  // it is elsewhere: an upstream's
      result.status = 404;
      result.type = "not_found_error";
      break;
    case ErrorCode::kBusy:  // the load failed; requests wait for what was to be unloaded
      result.status = load ? 503 : 409;
      result.type = load ? "unavailable_error" : "conflict_error";
      result.retry_after_s = 0;
      break;
    default:
      break;
  }
  return result;
}

}  // namespace

FleetStatus Router::status() const {
  FleetStatus status = control_.status();
  status.connections = count_connections_();
  return status;
}

bool Router::serve_own(const Exchange& exchange, const Client& client) {
  const HttpRequest& request = exchange->request();
  if (request.method != "GET" && request.method != "HEAD") return false;
  const std::string& path = request.path;
  if (path == "/v1/models" || path == "/models" || path.starts_with("/v1/models/")) {
    serve_models(*exchange, client);
  } else if (path == "/metrics") {
    exchange->respond(
        {200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(status()), {}});
  } else if (path == "/fleet") {
    FleetStatus shown = status();
    std::erase_if(shown.models,
                  [&](const ModelStatus& model) { return !client.may_use(model.name); });
    respond_json(*exchange, status_json(shown));
  } else {
    return false;
  }
  return true;
}

bool Router::serve_admin(const Exchange& exchange, const Client& client) {
  const HttpRequest& request = exchange->request();
  const std::string what = request.method + " " + request.path;
  const bool is_load = what == "POST /models/load";
  const bool is_unload = what == "POST /models/unload";
  const bool is_reload = what == "POST /fleet/reload";
  const bool is_log = what == "GET /logs/stream";
  if (!is_load && !is_unload && !is_reload && !is_log) return false;
  if (!client.is_admin()) {
    // Whoever has shown no key may have one.
    const bool is_nameless = client.key != nullptr && client.key->anonymous;
    ApiError error{403,
                   request.path + " needs a key with admin = true in the fleet's file",
                   "permission_error",
                   {},
                   "not_allowed",
                   0};
    if (is_nameless) error.status = 401;
    refuse(*exchange, error);
  } else if (is_log) {
    serve_logs(exchange);
  } else if (is_reload) {
    control_.reload([exchange](const Status& status) {
      if (status.ok()) return respond_json(*exchange, R"({"status":"reloaded"})");
      refuse(*exchange, api_error_of(status.error()));
    });
  } else {
    change_residency(exchange, is_load);
  }
  return true;
}

void Router::serve_health(HttpExchange& exchange) const {
  const FleetStatus status = control_.status();
  std::int32_t num_ready = 0;
  for (const ModelStatus& model : status.models) num_ready += model.state == "ready" ? 1 : 0;
  const std::string state = status.is_draining ? "draining" : status.is_starting ? "loading" : "ok";
  HttpResponse response;
  response.status = state == "ok" ? 200 : 503;
  response.body = fmt::format(R"({{"status":"{}","models":{},"ready":{}}})", state,
                              status.models.size(), num_ready);
  if (response.status != 200) response.headers.emplace_back("Retry-After", "2");
  exchange.respond(std::move(response));
}

void Router::serve_models(HttpExchange& exchange, const Client& client) const {
  constexpr std::string_view kPrefix = "/v1/models/";
  const FleetStatus status = control_.status();
  const std::string& path = exchange.request().path;
  if (path.starts_with(kPrefix)) {
    const std::string name = path.substr(kPrefix.size());
    const auto proper = control_.config().canonical_name(name);
    for (const ModelStatus& model : status.models) {
      if (proper == model.name && client.may_use(model.name)) {
        return respond_json(exchange, model_json(model, status.started_unix_s));
      }
    }
    return refuse(exchange, no_such_model(name));
  }
  std::vector<std::string> names;
  for (const ModelStatus& model : status.models) {
    if (client.may_use(model.name)) names.push_back(model.name);
  }
  respond_json(exchange, model_list_json(status, names));
}

void Router::serve_logs(const Exchange& exchange) {
  const std::string* name = exchange->request().query_value("model");
  const auto proper = name ? control_.config().canonical_name(*name) : std::nullopt;
  WorkerLog* log = proper ? control_.log(*proper) : nullptr;
  if (log == nullptr) {
    return refuse(*exchange,
                  name ? no_such_model(*name) : bad_request("?model= says whose log", "model"));
  }
  HttpResponse head;
  head.content_type = "text/plain; charset=utf-8";
  head.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  head.body = log->text();
  exchange->begin_stream(std::move(head));
  // A reader that falls behind misses lines; it must not make them pile up here.
  const auto id = log->subscribe([exchange](const std::string& line) {
    if (exchange->unsent_bytes() < HttpExchange::kFullBytes) exchange->send(line);
  });
  // Asked for anew: a reload may have taken the model away, and its log with it.
  exchange->on_gone([this, id, model = *proper] {
    if (WorkerLog* still = control_.log(model)) still->unsubscribe(id);
  });
}

void Router::change_residency(const Exchange& exchange, bool load) {
  const auto json = nlohmann::json::parse(exchange->request().body, nullptr, false);
  if (!json.is_object() || !json.contains("model") || !json["model"].is_string()) {
    return refuse(*exchange, bad_request("the body must be {\"model\": NAME}", "model"));
  }
  const bool force = json.contains("force") && json["force"] == true;
  const std::string name = json["model"].get<std::string>();
  const ModelConfig* model = control_.config().find_model(name);
  if (model == nullptr) return refuse(*exchange, no_such_model(name));
  const auto done = [exchange, name = model->name, load](const Status& status) {
    if (!status.ok()) return refuse(*exchange, residency_error(status.error(), load));
    respond_json(*exchange,
                 nlohmann::json{{"model", name}, {"status", load ? "ready" : "unloaded"}}.dump());
  };
  load ? control_.load(model->name, done) : control_.unload(model->name, force, done);
}

}  // namespace tandem
