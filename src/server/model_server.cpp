#include "server/model_server.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "server/answer_json.h"
#include "server/anthropic/messages.h"
#include "server/http/web_page.h"
#include "server/json_text.h"
#include "server/native/completion.h"
#include "server/native/embedding.h"
#include "server/native/native.h"
#include "server/native/rerank.h"
#include "server/openai/chat.h"
#include "server/openai/completions.h"
#include "server/openai/embeddings.h"
#include "server/openai/responses.h"
#include "text/tokenizer.h"

namespace tandem {

Result<std::unique_ptr<ModelServer>> ModelServer::start(ModelServerOptions options) {
  std::unique_ptr<ModelServer> server(new ModelServer(std::move(options)));
  TANDEM_TRY(server->guard_, AccessGuard::create(server->options_.access));
  server->add_routes();
  HttpServerOptions http = server->options_.http;
  ModelServer* self = server.get();
  http.make_error = [](int status, const std::string& message) {
    const bool is_busy = status == 503;
    const char* type = is_busy ? "unavailable_error" : "invalid_request_error";
    return error_response({status, message, type, {}, {}, is_busy ? 1 : 0}, Dialect::kOpenAi);
  };
  http.decorate = [self](const HttpRequest& request, HttpResponse& response) {
    self->decorate(request, response);
  };
  http.on_complete = [self](const HttpRequest& request, int status, std::int64_t bytes,
                            bool complete) { self->log(request, status, bytes, complete); };
  TANDEM_TRY(server->http_, HttpServer::start(std::move(http), [self](const Exchange& exchange) {
               self->handle(exchange);
             }));
  return server;
}

ModelServer::~ModelServer() {
  drain(0);
}

void ModelServer::serve(ServedModel model) {
  model_ = std::move(model);
  model_.metrics = &metrics_;
  has_model_ = true;
  state_ = State::kReady;
}

void ModelServer::fail(std::string reason) {
  {
    const std::lock_guard lock(failure_mutex_);
    failure_ = std::move(reason);
  }
  state_ = State::kFailed;
}

void ModelServer::drain(std::int64_t timeout_ms) {
  const bool was_ready = state_.exchange(State::kDraining) == State::kReady;
  if (!was_ready) return;
  const auto wait_until = [this](std::int64_t limit_us) {
    while (model_.engine->num_open() > 0 && monotonic_us() < limit_us) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  };
  wait_until(monotonic_us() + timeout_ms * 1000);
  model_.engine->cancel_all();
  wait_until(monotonic_us() + 5'000'000);
  // The last events are with the connections; they get a moment to reach their clients.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

void ModelServer::add(std::string method, std::string path,
                      void (*serve_route)(const ServedModel&, std::shared_ptr<HttpExchange>)) {
  Route route{std::move(method), true, true,
              [this, serve_route](Exchange exchange) { serve_route(model_, std::move(exchange)); }};
  routes_.emplace(std::move(path), std::move(route));
}

void ModelServer::add_plain(std::string method, std::string path, bool needs_key,
                            std::function<void(Exchange)> handle) {
  routes_.emplace(std::move(path), Route{std::move(method), needs_key, false, std::move(handle)});
}

void ModelServer::add_routes() {
  add("POST", "/v1/chat/completions", serve_chat);
  add("POST", "/chat/completions", serve_chat);
  add("POST", "/v1/completions", serve_completions);
  add("POST", "/v1/responses", serve_responses);
  add("POST", "/v1/messages", serve_messages);
  add("POST", "/v1/messages/count_tokens", serve_count_tokens);
  add("POST", "/completion", serve_native_completion);
  add("POST", "/completions", serve_native_completion);
  add("POST", "/infill", serve_infill);
  add("POST", "/tokenize", serve_tokenize);
  add("POST", "/detokenize", serve_detokenize);
  add("POST", "/apply-template", serve_apply_template);
  for (const char* path : {"/v1/embeddings", "/embeddings"}) add("POST", path, serve_embeddings);
  add("POST", "/embedding", serve_native_embedding);
  for (const char* path : {"/v1/rerank", "/rerank", "/v1/reranking", "/reranking"}) {
    add("POST", path, serve_rerank);
  }
  add("GET", "/props", serve_props);
  add("GET", "/slots", serve_slots);
  add("GET", "/machine", serve_machine);
  for (const char* path :
       {"/v1/audio/transcriptions", "/v1/images/generations", "/v1/moderations"}) {
    add_plain("POST", path, true, [](const Exchange& exchange) {
      refuse(*exchange, not_supported("this server does not have " + exchange->request().path));
    });
  }
  for (const char* path : {"/health", "/v1/health"}) {
    add_plain("GET", path, false, [this](const Exchange& exchange) { serve_health(*exchange); });
  }
  for (const char* path : {"/v1/models", "/models"}) {
    add("GET", path, nullptr);
    routes_.find(path)->second.handle = [this](const Exchange& exchange) {
      serve_models(*exchange);
    };
  }
  add_plain("GET", "/metrics", true, [this](const Exchange& exchange) {
    const EngineStats stats = has_model_ ? model_.engine->stats() : EngineStats();
    exchange->respond({200,
                       "text/plain; version=0.0.4; charset=utf-8",
                       metrics_.expose(stats, http_->num_connections()),
                       {}});
  });
  if (!options_.serve_page) return;
  for (const char* path : {"/", "/index.html"}) {
    add_plain("GET", path, false, [](const Exchange& exchange) { serve_web_page(*exchange); });
  }
}

const ModelServer::Route* ModelServer::find(const HttpRequest& request, bool& knows_path) const {
  std::string path = request.path;
  // A model by its name is the list's only one; names may hold slashes.
  if (path.starts_with("/v1/models/")) path = "/v1/models";
  const auto [begin, end] = routes_.equal_range(path);
  knows_path = begin != end;
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  for (auto route = begin; route != end; ++route) {
    if (route->second.method == method) return &route->second;
  }
  return nullptr;
}

void ModelServer::handle(const Exchange& exchange) {
  const HttpRequest& request = exchange->request();
  bool knows_path = false;
  const Route* route = find(request, knows_path);
  const bool is_preflight = request.method == "OPTIONS";
  const bool needs_key = !is_preflight && (route == nullptr || route->needs_key);
  if (const auto error = guard_->check(request, needs_key)) return refuse(*exchange, *error);
  if (is_preflight) return exchange->respond({204, "", "", {}});
  if (route == nullptr) return refuse_path(*exchange, knows_path);
  if (route->needs_model) {
    if (const auto error = refusal()) return refuse(*exchange, *error);
  }
  route->handle(exchange);
}

void ModelServer::refuse_path(HttpExchange& exchange, bool knows_path) const {
  const HttpRequest& request = exchange.request();
  const std::string what = request.method + " " + request.path;
  const Dialect dialect = dialect_of(request.path);
  if (!knows_path) {
    return exchange.respond(
        error_response({404, what + ": no such path", "not_found_error", {}, {}, 0}, dialect));
  }
  HttpResponse response = error_response(
      {405, what + ": the path has another method", "invalid_request_error", {}, {}, 0}, dialect);
  const auto route =
      routes_.find(request.path.starts_with("/v1/models/") ? "/v1/models" : request.path);
  response.headers.emplace_back(
      "Allow", route->second.method == "GET" ? "GET, HEAD, OPTIONS" : "POST, OPTIONS");
  exchange.respond(std::move(response));
}

ModelServer::State ModelServer::state() const {
  const State state = state_;
  if (state == State::kReady && !model_.engine->stats().failure.empty()) return State::kFailed;
  return state;
}

std::optional<ApiError> ModelServer::refusal() const {
  switch (state()) {
    case State::kReady:
      return std::nullopt;
    case State::kLoading:
      return ApiError{503, "Loading model", "unavailable_error", {}, "loading", 2};
    case State::kDraining:
      return ApiError{503, "the server is shutting down", "unavailable_error", {}, "draining", 5};
    case State::kFailed:
      break;
  }
  return ApiError{503, "the model has failed; /health says why", "unavailable_error", {}, "failed",
                  30};
}

void ModelServer::serve_health(HttpExchange& exchange) const {
  HttpResponse response;
  switch (state()) {
    case State::kReady:
      response.body = R"({"status":"ok"})";
      break;
    case State::kLoading:
      response = error_response(*refusal(), Dialect::kNative);
      response.body = R"({"status":"loading",)" + response.body.substr(1);
      break;
    case State::kDraining:
      response = error_response(*refusal(), Dialect::kNative);
      response.body = R"({"status":"draining",)" + response.body.substr(1);
      break;
    case State::kFailed: {
      std::string why;
      {
        const std::lock_guard lock(failure_mutex_);
        why = failure_.empty() ? model_.engine->stats().failure : failure_;
      }
      response.status = 503;
      response.body = fmt::format(R"({{"status":"failed","reason":{}}})", json_string(why));
      break;
    }
  }
  exchange.respond(std::move(response));
}

void ModelServer::serve_models(HttpExchange& exchange) const {
  const std::string& path = exchange.request().path;
  const std::string model = fmt::format(
      R"({{"id":{},"object":"model","created":{},"owned_by":"tandem","meta":{{"n_vocab":{},"n_ctx":{},"n_ctx_train":{},"n_embd":{},"n_params":{},"size":{}}}}})",
      json_string(model_.name), model_.created_unix_s, model_.tokenizer->vocabulary().size(),
      model_.engine->stats().max_context_tokens, model_.trained_context_tokens,
      model_.embedding_length, model_.num_parameters, model_.file_bytes);
  constexpr std::string_view kPrefix = "/v1/models/";
  HttpResponse response;
  if (!path.starts_with(kPrefix)) {
    response.body = fmt::format(R"({{"object":"list","data":[{}]}})", model);
  } else if (path.substr(kPrefix.size()) == model_.name) {
    response.body = model;
  } else {
    return refuse(exchange, ApiError{404, "no such model", "invalid_request_error", "model",
                                     "model_not_found", 0});
  }
  exchange.respond(std::move(response));
}

void ModelServer::decorate(const HttpRequest& request, HttpResponse& response) {
  metrics_.count_response(response.status);
  guard_->decorate(request, response);
}

// The path without its query, no header and no body: nothing secret is in the log.
void ModelServer::log(const HttpRequest& request, int status, std::int64_t sent_bytes,
                      bool complete) {
  if (!options_.access_log) return;
  options_.access_log(fmt::format(
      R"({{"time":{},"peer":{},"method":{},"path":{},"status":{},"bytes":{},"seconds":{:.6f},"complete":{}}})",
      unix_seconds(), json_string(request.peer), json_string(request.method),
      json_string(request.path), status, sent_bytes,
      double(monotonic_us() - request.received_us) / 1e6, complete));
}

}  // namespace tandem
