#include "fleet/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/clock.h"
#include "fleet/http_fields.h"
#include "fleet/prompt_prefix.h"
#include "fleet/router_answers.h"
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
