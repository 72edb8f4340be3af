#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "base/log.h"
#include "server/http/http_connection.h"

namespace tandem {
namespace http_internal {
namespace {

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[40];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

std::uint16_t port_of(const asio::generic::stream_protocol::endpoint& endpoint) {
  const sockaddr* address = endpoint.data();
  if (address->sa_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(address)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(address)->sin_port);
}

}  // namespace

std::string address_text(const asio::generic::stream_protocol::endpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "unix";
  const sockaddr* address = endpoint.data();
  if (address->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  } else if (address->sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text,
              sizeof text);
  }
  return text;
}

std::string header_text(int status, const HttpResponse& response, std::string_view framing,
                        bool keep_alive) {
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nConnection: {}\r\n{}", status,
                  reason_phrase(status), http_date(), keep_alive ? "keep-alive" : "close", framing);
  if (!response.content_type.empty()) text += "Content-Type: " + response.content_type + "\r\n";
  for (const auto& [name, value] : response.headers) text += name + ": " + value + "\r\n";
  return text + "\r\n";
}

}  // namespace http_internal

using namespace http_internal;  // NOLINT: the other half of this file

// What waits for connections keeps it alive: on a loop of the caller's, its HttpServer may go
// first.
class HttpServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(HttpServerOptions options, HttpHandler handler)
      : state_(std::make_shared<ServerState>(std::move(options))),
        acceptor_(asio::make_strand(state_->io)) {
    state_->handler = std::move(handler);
  }

  void shut_down() {
    stop_accepting();
    state_->is_over = true;
    close_connections();
    if (!state_->own_loop) return;
    state_->own_loop->impl().work.reset();
    for (std::thread& thread : threads_) thread.join();
  }

  Status open() {
    TANDEM_TRY_STATUS(set_up_tls());
    const HttpServerOptions& options = state_->options;
    error_code error;
    const bool is_path = options.host.ends_with(".sock");
    const Endpoint endpoint = is_path ? path_endpoint(error) : address_endpoint(error);
    if (error) return failure(is_path ? "no Unix socket" : "cannot resolve the host", error);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error && is_path) path_ = options.host;
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failure("cannot listen", error);
    if (!is_path) port_ = port_of(acceptor_.local_endpoint());
    raise_descriptor_limit();
    return {};
  }

  void run() {
    accept();
    if (!state_->own_loop) return;
    for (std::int32_t i = 0; i < std::max(1, state_->options.num_threads); ++i) {
      threads_.emplace_back([this] {
        pthread_setname_np(pthread_self(), "http");
        state_->io.run();
      });
    }
  }

  std::uint16_t port() const { return port_; }
  std::int32_t num_connections() const {
    const std::lock_guard lock(state_->mutex);
    return static_cast<std::int32_t>(state_->connections.size());
  }
  void stop_accepting() {
    state_->is_accepting = false;
    asio::post(acceptor_.get_executor(), [self = shared_from_this()] { self->close_acceptor(); });
  }

 private:
  using Endpoint = asio::generic::stream_protocol::endpoint;

  Endpoint address_endpoint(error_code& error) {
    const HttpServerOptions& options = state_->options;
    asio::ip::tcp::resolver resolver(state_->io);
    const auto found = resolver.resolve(options.host, std::to_string(options.port),
                                        asio::ip::resolver_base::passive, error);
    if (!error && found.empty()) error = asio::error::host_not_found;
    return error ? Endpoint() : Endpoint(found.begin()->endpoint());
  }

  // A socket that a dead process left there is removed; one that answers is in use.
  Endpoint path_endpoint(error_code& error) {
    const std::string& path = state_->options.host;
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      error = asio::error::name_too_long;
      return {};
    }
    const asio::local::stream_protocol::endpoint endpoint(path);
    asio::local::stream_protocol::socket probe(state_->io);
    error_code refused;
    probe.connect(endpoint, refused);
    if (refused == asio::error::connection_refused) ::unlink(path.c_str());
    return endpoint;
  }

  Error failure(const std::string& what, const error_code& error) const {
    return {ErrorCode::kIo,
            what,
            state_->options.host.ends_with(".sock")
                ? state_->options.host
                : fmt::format("{}:{}", state_->options.host, state_->options.port),
            {},
            error.message()};
  }

  Status set_up_tls() {
    const HttpServerOptions& options = state_->options;
    if (options.certificate_file.empty() && options.key_file.empty()) return {};
    if (options.certificate_file.empty() || options.key_file.empty()) {
      return invalid_argument("TLS", "both a certificate and a key file", "one of them");
    }
    for (const std::string& path : {options.certificate_file, options.key_file}) {
      if (::access(path.c_str(), R_OK) == 0) continue;
      return Error{ErrorCode::kIo, "cannot be read", path, {}, std::strerror(errno)};
    }
    tls_.emplace(asio::ssl::context::tls_server);
    tls_->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                      asio::ssl::context::no_tlsv1_1);
    error_code error;
    tls_->use_certificate_chain_file(options.certificate_file, error);
    if (error)
      return malformed(options.certificate_file, "no certificate chain", {}, error.message());
    tls_->use_private_key_file(options.key_file, asio::ssl::context::pem, error);
    if (error) return malformed(options.key_file, "no private key", {}, error.message());
    return {};
  }

  // Every connection is a descriptor; the usual limit of 1024 is below max_connections.
  static void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }

  void accept() {
    acceptor_.async_accept(asio::make_strand(state_->io),
                           [self = shared_from_this()](error_code error, PlainSocket socket) {
                             if (!self->state_->is_accepting) return self->close_acceptor();
                             if (error) return self->accept_later(error);
                             self->welcome(std::move(socket));
                             self->accept();
                           });
  }

  // Out of descriptors, most likely: waiting a moment is all that can be done.
  void accept_later(const error_code& error) {
    spdlog::warn("cannot accept a connection: {}", error.message());
    retry_.emplace(acceptor_.get_executor());
    retry_->expires_after(std::chrono::milliseconds(100));
    retry_->async_wait([self = shared_from_this()](error_code aborted) {
      if (!aborted && self->state_->is_accepting) self->accept();
    });
  }

  void welcome(PlainSocket socket) {
    if (num_connections() >= state_->options.max_connections) return;  // closes it
    error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);  // means nothing to Unix sockets
    if (tls_) {
      std::make_shared<Connection<TlsSocket>>(TlsSocket(std::move(socket), *tls_), state_)->run();
    } else {
      std::make_shared<Connection<PlainSocket>>(std::move(socket), state_)->run();
    }
  }

  void close_acceptor() {
    error_code ignored;
    acceptor_.close(ignored);
    if (retry_) retry_->cancel();
    if (!path_.empty()) ::unlink(std::exchange(path_, {}).c_str());
  }

  void close_connections() {
    // Let go of outside the lock: a connection's destructor takes it.
    std::vector<std::shared_ptr<AnyConnection>> connections;
    {
      const std::lock_guard lock(state_->mutex);
      for (const auto& [pointer, weak] : state_->connections) {
        if (auto connection = weak.lock()) connections.push_back(std::move(connection));
      }
    }
    for (const auto& connection : connections) connection->close_soon();
  }

  std::shared_ptr<ServerState> state_;
  asio::basic_socket_acceptor<asio::generic::stream_protocol, Strand> acceptor_;
  std::optional<asio::ssl::context> tls_;
  std::optional<asio::steady_timer> retry_;
  std::vector<std::thread> threads_;
  std::uint16_t port_ = 0;
  std::string path_;  // of the Unix socket that must be removed
};

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options,
                                                      HttpHandler handler) {
  auto impl = std::make_shared<Impl>(std::move(options), std::move(handler));
  TANDEM_TRY_STATUS(impl->open());
  impl->run();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() {
  impl_->shut_down();
}

std::uint16_t HttpServer::port() const {
  return impl_->port();
}
std::int32_t HttpServer::num_connections() const {
  return impl_->num_connections();
}
void HttpServer::stop_accepting() {
  impl_->stop_accepting();
}

}  // namespace tandem
