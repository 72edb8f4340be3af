#include "server/http/http_server.h"

#include <fmt/format.h>
#include <sys/resource.h>

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

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

}  // namespace

std::string header_text(int status, const HttpResponse& response, std::string_view framing,
                        bool keep_alive) {
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nConnection: {}\r\n{}", status,
                  reason_phrase(status), http_date(), keep_alive ? "keep-alive" : "close", framing);
  if (!response.content_type.empty()) text += "Content-Type: " + response.content_type + "\r\n";
  for (const auto& [name, value] : response.headers) text += name + ": " + value + "\r\n";
  return text + "\r\n";
}

HttpRequest make_request(const beast::http::request<beast::http::string_body>& message,
                         std::string peer) {
  HttpRequest request;
  const auto view = [](auto text) { return std::string_view(text.data(), text.size()); };
  request.method = view(message.method_string());
  request.path = view(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(lower(view(field.name_string())), view(field.value()));
  }
  request.peer = std::move(peer);
  request.received_us = monotonic_us();
  return request;
}

}  // namespace http_internal

using namespace http_internal;  // NOLINT: the other half of this file

class HttpServer::Impl {
 public:
  Impl(HttpServerOptions options, HttpHandler handler)
      : state_(std::make_shared<ServerState>()), acceptor_(asio::make_strand(state_->io)) {
    state_->options = std::move(options);
    state_->handler = std::move(handler);
  }

  ~Impl() {
    state_->is_accepting = false;
    asio::post(acceptor_.get_executor(), [this] { close_acceptor(); });
    close_connections();
    work_.reset();
    for (std::thread& thread : threads_) thread.join();
  }

  Status open() {
    TANDEM_TRY_STATUS(set_up_tls());
    const HttpServerOptions& options = state_->options;
    error_code error;
    asio::ip::tcp::resolver resolver(state_->io);
    const auto found = resolver.resolve(options.host, std::to_string(options.port),
                                        asio::ip::resolver_base::passive, error);
    if (error || found.empty()) return failure("cannot resolve the host", error);
    const asio::ip::tcp::endpoint endpoint = *found.begin();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failure("cannot listen", error);
    port_ = acceptor_.local_endpoint().port();
    raise_descriptor_limit();
    return {};
  }

  void run() {
    accept();
    for (std::int32_t i = 0; i < std::max(1, state_->options.num_threads); ++i) {
      threads_.emplace_back([this] { state_->io.run(); });
    }
  }

  std::uint16_t port() const { return port_; }
  std::int32_t num_connections() const {
    const std::lock_guard lock(state_->mutex);
    return static_cast<std::int32_t>(state_->connections.size());
  }
  void stop_accepting() {
    state_->is_accepting = false;
    asio::post(acceptor_.get_executor(), [this] { close_acceptor(); });
  }

 private:
  Error failure(const std::string& what, const error_code& error) const {
    return {ErrorCode::kIo,
            what,
            fmt::format("{}:{}", state_->options.host, state_->options.port),
            {},
            error.message()};
  }

  Status set_up_tls() {
    const HttpServerOptions& options = state_->options;
    if (options.certificate_file.empty() && options.key_file.empty()) return {};
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
                           [this](error_code error, PlainSocket socket) {
                             if (!state_->is_accepting) return close_acceptor();
                             if (error) return accept_later(error);
                             welcome(std::move(socket));
                             accept();
                           });
  }

  // Out of descriptors, most likely: waiting a moment is all that can be done.
  void accept_later(const error_code& error) {
    spdlog::warn("cannot accept a connection: {}", error.message());
    retry_.emplace(acceptor_.get_executor());
    retry_->expires_after(std::chrono::milliseconds(100));
    retry_->async_wait([this](error_code aborted) {
      if (!aborted && state_->is_accepting) accept();
    });
  }

  void welcome(PlainSocket socket) {
    if (num_connections() >= state_->options.max_connections) return;  // closes it
    error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
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
  asio::executor_work_guard<asio::io_context::executor_type> work_ =
      asio::make_work_guard(state_->io);
  asio::ip::tcp::acceptor acceptor_;
  std::optional<asio::ssl::context> tls_;
  std::optional<asio::steady_timer> retry_;
  std::vector<std::thread> threads_;
  std::uint16_t port_ = 0;
};

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options,
                                                      HttpHandler handler) {
  auto impl = std::make_unique<Impl>(std::move(options), std::move(handler));
  TANDEM_TRY_STATUS(impl->open());
  impl->run();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

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
