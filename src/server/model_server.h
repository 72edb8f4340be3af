#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "server/http/access_guard.h"
#include "server/http/http_server.h"
#include "server/metrics.h"
#include "server/served_model.h"

namespace tandem {

struct ModelServerOptions {
  HttpServerOptions http;
  AccessOptions access;
  bool serve_page = true;
  // One JSON document a request; no line break at its end. Called from the server's threads.
  std::function<void(const std::string& line)> access_log;
};

// One model behind HTTP: OpenAI's routes, llama-server's, Anthropic's messages, and the web page.
// Listens before the model is there and says so on /health.
class ModelServer {
 public:
  // Errors: those of HttpServer and AccessGuard.
  static Result<std::unique_ptr<ModelServer>> start(ModelServerOptions options);
  // Cuts all connections off. The engine must outlive this.
  ~ModelServer();

  std::uint16_t port() const { return http_->port(); }

  // From now on requests are taken. Once.
  void serve(ServedModel model);
  // The model cannot be had: /health says why.
  void fail(std::string reason);
  // Refuses new requests, waits until the running ones are done or `timeout_ms` has passed, then
  // ends those left with an error as their last event. Blocks.
  void drain(std::int64_t timeout_ms);
  // Reads the key file again.
  Status reload_keys() { return guard_->reload(); }

 private:
  enum class State : std::uint8_t { kLoading, kReady, kDraining, kFailed };
  using Exchange = std::shared_ptr<HttpExchange>;
  struct Route {
    std::string method;
    bool needs_key = true;
    bool needs_model = true;
    std::function<void(Exchange)> handle;
  };

  explicit ModelServer(ModelServerOptions options) : options_(std::move(options)) {}
  void add_routes();
  void add(std::string method, std::string path,
           void (*handle)(const ServedModel&, std::shared_ptr<HttpExchange>));
  void add_plain(std::string method, std::string path, bool needs_key,
                 std::function<void(Exchange)> handle);
  void handle(const Exchange& exchange);
  const Route* find(const HttpRequest& request, bool& knows_path) const;
  std::optional<ApiError> refusal() const;
  void refuse_path(HttpExchange& exchange, bool knows_path) const;
  void decorate(const HttpRequest& request, HttpResponse& response);
  void serve_health(HttpExchange& exchange) const;
  void serve_models(HttpExchange& exchange) const;
  void log(const HttpRequest& request, int status, std::int64_t sent_bytes, bool complete);
  State state() const;

  ModelServerOptions options_;
  std::unique_ptr<AccessGuard> guard_;
  ServerMetrics metrics_;
  std::multimap<std::string, Route> routes_;  // by path
  ServedModel model_;                         // set before state_ leaves kLoading
  std::atomic<bool> has_model_{false};        // model_ is set, and stays so
  std::atomic<State> state_{State::kLoading};
  mutable std::mutex failure_mutex_;
  std::string failure_;  // guarded by failure_mutex_
  std::unique_ptr<HttpServer> http_;
};

}  // namespace tandem
