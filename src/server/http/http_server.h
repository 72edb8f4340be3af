#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/http/event_loop.h"
#include "server/http/http_exchange.h"

namespace tandem {

struct HttpServerOptions {
  std::string host = "127.0.0.1";  // or a path that ends in ".sock": a Unix socket
  std::uint16_t port = 8080;       // 0: any free one; not of Unix sockets
  std::int32_t num_threads = 2;
  EventLoop* loop = nullptr;  // where it runs instead of on threads of its own
  std::size_t max_header_bytes = 32 * 1024;
  std::uint64_t max_body_bytes = 16 * 1024 * 1024;
  // Of all requests that arrive or are being answered; never less than one of the largest.
  std::uint64_t max_held_body_bytes = 1024ull * 1024 * 1024;
  std::int32_t max_connections = 4096;
  std::size_t max_unsent_bytes = 4 * 1024 * 1024;  // of one answer whose client does not read
  std::int64_t header_timeout_ms = 15'000;  // from a request's first byte to its header's end
  std::int64_t body_timeout_ms = 60'000;    // from there to its last byte
  std::int64_t idle_timeout_ms = 120'000;   // between requests
  std::int64_t write_timeout_ms = 60'000;   // in which a client must read something
  std::string certificate_file = {};        // PEM; with key_file: TLS
  std::string key_file = {};
  // Makes the body of the answers that the server itself gives (400, 408, 413, 431, 503).
  std::function<HttpResponse(int status, const std::string& message)> make_error = {};
  // Adds headers to every answer before it goes out.
  std::function<void(const HttpRequest& request, HttpResponse& response)> decorate = {};
  // After each answer's end, or its client's going. Called from the server's threads.
  std::function<void(const HttpRequest& request, int status, std::int64_t sent_bytes,
                     bool complete)>
      on_complete = {};
};

// An HTTP/1.1 server over TCP, TLS or a Unix socket: keep-alive, chunked answers, limits on
// everything a client can send or hold. Knows nothing of what is served.
class HttpServer {
 public:
  // Listens, and calls `handler` for each request from threads of its own; the handler must not
  // block. With a loop of the caller's, all of it happens there, destruction included.
  // Errors: kIo (address in use or not there), kMalformed (certificate or key).
  static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options, HttpHandler handler);
  // Closes all connections at once.
  ~HttpServer();

  std::uint16_t port() const;
  std::int32_t num_connections() const;
  // Takes no further connection; those that are there go on, without keep-alive.
  void stop_accepting();

 private:
  class Impl;
  explicit HttpServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace tandem
