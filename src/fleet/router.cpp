#include "fleet/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "fleet/http_fields.h"
#include "fleet/prompt_prefix.h"
#include "machine/text_scan.h"
#include "server/http/web_page.h"

namespace tandem {
namespace {

// Bodies above this are scanned on a thread of their own; on the loop it takes a fraction of a
// millisecond up to here.
constexpr std::size_t kLargeBodyBytes = 256 * 1024;
// What stands for a token where only bytes are known: four of English, by the usual rule.
constexpr std::int64_t kBytesPerToken = 4;

constexpr std::array<std::string_view, 20> kPostPaths = {"/v1/chat/completions",
                                                         "/chat/completions",
                                                         "/v1/completions",
                                                         "/v1/messages",
                                                         "/v1/messages/count_tokens",
                                                         "/v1/responses",
                                                         "/completion",
                                                         "/completions",
                                                         "/infill",
                                                         "/tokenize",
                                                         "/detokenize",
                                                         "/apply-template",
                                                         "/v1/embeddings",
                                                         "/embeddings",
                                                         "/embedding",
                                                         "/rerank",
                                                         "/v1/rerank",
                                                         "/reranking",
                                                         "/v1/reranking",
                                                         "/v1/moderations"};
constexpr std::array<std::string_view, 3> kGetPaths = {"/props", "/slots", "/machine"};
constexpr std::array<std::string_view, 12> kOwnPaths = {
    "/",        "/index.html",  "/health",        "/v1/health",   "/v1/models", "/models",
    "/metrics", "/models/load", "/models/unload", "/logs/stream", "/fleet",     "/fleet/reload"};

void refuse(HttpExchange& exchange, const ApiError& error) {
  exchange.respond(error_response(error, dialect_of(exchange.request().path)));
}

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

std::string_view given_key(const HttpRequest& request) {
  std::string_view given;
  if (const std::string* key = request.header("x-api-key")) given = *key;
  if (const std::string* bearer = request.header("authorization")) {
    const std::string_view text = *bearer;
    if (lower_case(text.substr(0, 7)) == "bearer ") given = text.substr(7);
  }
  return given;
}

// How long the client will wait, in seconds, where it says so: our own header, or the one of
// OpenAI's client libraries.
std::optional<double> client_timeout_s(const HttpRequest& request) {
  for (const char* name : {"x-request-timeout", "x-stainless-timeout"}) {
    const std::string* text = request.header(name);
    if (text == nullptr) continue;
    double seconds = 0;
    const auto read = std::from_chars(text->data(), text->data() + text->size(), seconds);
    const bool is_whole = read.ec == std::errc() && read.ptr == text->data() + text->size();
    if (is_whole && seconds > 0 && seconds < 1e6) return seconds;
  }
  return std::nullopt;
}

// Path and query, without the model's name in it: that was for the router.
std::string target_of(const HttpRequest& request) {
  std::string target = request.path;
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    if (name == "model") continue;
    target += separator + percent_encode(name) + "=" + percent_encode(value);
    separator = '&';
  }
  return target;
}

template <typename Array>
bool holds(const Array& paths, std::string_view path) {
  return std::ranges::find(paths, path) != paths.end();
}

}  // namespace

bool is_passed_on(std::string_view method, std::string_view path) {
  if (method == "POST") return holds(kPostPaths, path);
  return (method == "GET" || method == "HEAD") && holds(kGetPaths, path);
}

bool Router::Client::may_use(const std::string& model) const {
  return key == nullptr || key->models.empty() ||
         std::ranges::find(key->models, model) != key->models.end();
}

Result<std::unique_ptr<Router>> Router::create(EventLoop& loop, FleetControl& control,
                                               std::function<std::int32_t()> count_connections) {
  std::unique_ptr<Router> router(new Router(loop, control));
  router->count_connections_ = std::move(count_connections);
  TANDEM_TRY_STATUS(router->refresh());
  return router;
}

FleetStatus Router::status() const {
  FleetStatus status = control_.status();
  status.connections = count_connections_();
  return status;
}

Status Router::refresh() {
  const FleetListen& listen = control_.config().listen;
  AccessOptions access;
  access.origins = listen.origins;
  access.hosts = listen.hosts;
  access.check_host = std::ranges::all_of(
      listen.addresses, [](const ListenAddress& address) { return address.is_loopback(); });
  TANDEM_TRY(guard_, AccessGuard::create(std::move(access)));
  return {};
}

// Every key is compared, in a time that does not tell which one was nearly right.
std::optional<Router::Client> Router::identify(const HttpRequest& request) const {
  const std::vector<KeyConfig>& keys = control_.config().keys;
  if (keys.empty()) return Client{};
  const std::string_view given = given_key(request);
  const KeyConfig* found = nullptr;
  for (const KeyConfig& key : keys) {
    const bool is_equal = !key.key.empty() && equal_in_constant_time(given, key.key);
    if (is_equal) found = &key;
  }
  if (found == nullptr && given.empty()) {
    const auto anonymous = std::ranges::find_if(keys, &KeyConfig::anonymous);
    if (anonymous != keys.end()) found = &*anonymous;
  }
  if (found == nullptr) return std::nullopt;
  return Client{found};
}

void Router::handle(const Exchange& exchange, const std::string& port_model) {
  const HttpRequest& request = exchange->request();
  if (const auto error = guard_->check(request, false)) return refuse(*exchange, *error);
  if (request.method == "OPTIONS") return exchange->respond({204, "", "", {}});
  const bool is_get = request.method == "GET" || request.method == "HEAD";
  if (is_get && (request.path == "/health" || request.path == "/v1/health")) {
    return serve_health(*exchange);
  }
  if (is_get && (request.path == "/" || request.path == "/index.html") &&
      control_.config().listen.serve_page) {
    return serve_web_page(*exchange);
  }
  const std::optional<Client> client = identify(request);
  if (!client) {
    return refuse(
        *exchange,
        {401, "missing or wrong API key", "authentication_error", {}, "invalid_api_key", 0});
  }
  if (is_passed_on(request.method, request.path)) return route(exchange, *client, port_model);
  if (serve_own(exchange, *client) || serve_admin(exchange, *client)) return;
  const std::string what = request.method + " " + request.path;
  const bool is_known = holds(kOwnPaths, request.path) || holds(kPostPaths, request.path) ||
                        holds(kGetPaths, request.path);
  refuse(*exchange, is_known
                        ? ApiError{405,
                                   what + ": the path has another method",
                                   "invalid_request_error",
                                   {},
                                   {},
                                   0}
                        : ApiError{404, what + ": no such path", "not_found_error", {}, {}, 0});
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
  const std::string name = json["model"].get<std::string>();
  const ModelConfig* model = control_.config().find_model(name);
  if (model == nullptr) return refuse(*exchange, no_such_model(name));
  const auto done = [exchange, name = model->name, load](const Status& status) {
    if (!status.ok()) {
      ApiError error = api_error_of(status.error());
      if (status.error().code == ErrorCode::kDoesNotFit) error.status = 409;
      if (status.error().code == ErrorCode::kBusy) error.status = 503;  // not for want of a place
      return refuse(*exchange, error);
    }
    respond_json(*exchange,
                 nlohmann::json{{"model", name}, {"status", load ? "ready" : "unloaded"}}.dump());
  };
  load ? control_.load(model->name, done) : control_.unload(model->name, done);
}

void Router::route(const Exchange& exchange, const Client& client, const std::string& port_model) {
  const std::string& body = exchange->request().body;
  if (body.empty() || exchange->request().method != "POST") {
    return pass_on(exchange, client, port_model, RequestScan());
  }
  if (body.size() < kLargeBodyBytes) {
    return pass_on(exchange, client, port_model, scan_request(body));
  }
  scanner_.post([this, exchange, client, port_model] {
    auto scan = std::make_shared<Result<RequestScan>>(scan_request(exchange->request().body));
    loop_.post([this, exchange, client, port_model, scan] {
      // The keys may have been read anew meanwhile.
      const std::optional<Client> same = identify(exchange->request());
      if (same) return pass_on(exchange, *same, port_model, std::move(*scan));
      refuse(*exchange,
             {401, "the API key is no more", "authentication_error", {}, "invalid_api_key", 0});
    });
  });
}

Result<std::string> Router::model_of(const HttpRequest& request, const RequestScan& scan,
                                     const std::string& port_model) const {
  // A port of its own is a server of its own: there is one model, whatever the request calls it.
  if (!port_model.empty()) return port_model;
  const std::string* asked = request.query_value("model");
  if (asked != nullptr && scan.model && *asked != *scan.model) {
    return invalid_argument("body and query name different models");
  }
  const std::vector<std::string> names = control_.config().served_names();
  if (asked == nullptr && !scan.model) {
    if (names.size() == 1) return names[0];
    return invalid_argument("\"model\" is missing; there are " +
                            fmt::format("{}", fmt::join(names, ", ")));
  }
  const std::string& name = scan.model ? *scan.model : *asked;
  const auto proper = control_.config().canonical_name(name);
  if (!proper) return not_found(name);
  return *proper;
}

void Router::pass_on(const Exchange& exchange, const Client& client, const std::string& port_model,
                     Result<RequestScan> scan) {
  const HttpRequest& request = exchange->request();
  if (!scan.ok()) return refuse(*exchange, bad_request(scan.error().to_string()));
  const Result<std::string> model = model_of(request, *scan, port_model);
  if (!model.ok()) {
    const bool is_unknown = model.error().code == ErrorCode::kNotFound;
    return refuse(*exchange, is_unknown ? no_such_model(model.error().what)
                                        : bad_request(model.error().to_string(), "model"));
  }
  // Not told apart from a model that is not there: names are nobody else's business.
  if (!client.may_use(*model)) return refuse(*exchange, no_such_model(*model));
  RoutedRequest routed;
  routed.target = target_of(request);
  routed.demand.model = *model;
  routed.demand.key = client.key != nullptr ? client.key->name : std::string();
  routed.demand.prompt_tokens =
      1 + static_cast<std::int64_t>(scan->prompt_bytes()) / kBytesPerToken;
  routed.demand.max_tokens = scan->max_tokens.value_or(0);
  routed.demand.prefix = prompt_prefix(
      std::string_view(request.body).substr(scan->prompt_begin, scan->prompt_bytes()));
  routed.demand.may_load = request.method == "POST";
  if (const auto seconds = client_timeout_s(request)) {
    routed.demand.deadline_us = request.received_us + static_cast<std::int64_t>(*seconds * 1e6);
  }
  routed.scan = std::move(*scan);
  ProxiedRequest::start(exchange, std::move(routed), control_,
                        [this](const ProxiedRequest::Ending& ending) { control_.count(ending); });
}

void Router::decorate(const HttpRequest& request, HttpResponse& response) const {
  guard_->decorate(request, response);
}

}  // namespace tandem
