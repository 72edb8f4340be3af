#include "fleet/upstream_client.h"

#include <fmt/format.h>

#include <deque>
#include <list>
#include <optional>

#include "fleet/upstream_connection.h"

namespace tandem {
using namespace upstream_internal;  // NOLINT: the other half of this file

namespace {

// Servers close kept connections after a while of their own (uvicorn after 5 s): ours goes first.
constexpr std::int64_t kMaxIdleUs = 4'000'000;
constexpr std::size_t kMaxIdle = 64;

std::string head_text_of(const UpstreamAddress& address, const UpstreamRequest& request) {
  const bool is_usual_port = address.port == (address.tls ? 443 : 80);
  const std::string host = !address.unix_path.empty() ? std::string("localhost")
                           : is_usual_port            ? address.host
                                           : fmt::format("{}:{}", address.host, address.port);
  std::string text = fmt::format("{} {}{} HTTP/1.1\r\nHost: {}\r\n", request.method,
                                 address.base_path, request.target, host);
  for (const auto& [name, value] : request.headers) text += name + ": " + value + "\r\n";
  if (request.body || request.method == "POST") {
    text += fmt::format("Content-Length: {}\r\n", request.body ? request.body->size() : 0);
  }
  return text + "\r\n";
}

class CallHandle : public UpstreamCall {
 public:
  explicit CallHandle(std::shared_ptr<CallState> state) : state_(std::move(state)) {}
  ~CallHandle() override { cancel(); }
  void cancel() override {
    if (!std::exchange(state_->is_over, true)) changed();
  }
  void pause() override { state_->is_paused = true; }
  void resume() override {
    if (std::exchange(state_->is_paused, false) && !state_->is_over) changed();
  }

 private:
  void changed() {
    if (state_->on_change) state_->on_change();
  }

  std::shared_ptr<CallState> state_;
};

}  // namespace

std::string UpstreamAddress::to_string() const {
  if (!unix_path.empty()) return unix_path;
  return fmt::format("{}://{}:{}{}", tls ? "https" : "http", host, port, base_path);
}

const std::string* UpstreamHead::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

class UpstreamClient::Impl : public ConnectionOwner {
 public:
  Impl(EventLoop& loop, UpstreamAddress address)
      : io_(loop.impl().io), address_(std::move(address)), resolver_(io_) {}

  ~Impl() override {
    resolver_.cancel();
    for (const auto& connection : std::exchange(plain_, {})) connection->abandon();
    for (const auto& connection : std::exchange(secure_, {})) connection->abandon();
  }

  Status open() {
    if (!address_.tls) return {};
    tls_.emplace(asio::ssl::context::tls_client);
    tls_->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                      asio::ssl::context::no_tlsv1_1);
    tls_->set_verify_mode(asio::ssl::verify_peer);
    error_code error;
    if (address_.ca_file.empty()) {
      tls_->set_default_verify_paths(error);
    } else {
      tls_->load_verify_file(address_.ca_file, error);
    }
    if (error) return malformed(address_.ca_file, "no certificates", "PEM", error.message());
    return {};
  }

  std::unique_ptr<UpstreamCall> call(UpstreamRequest request, UpstreamEvents events) {
    auto state = std::make_shared<CallState>();
    state->head_text = head_text_of(address_, request);
    state->request = std::move(request);
    state->events = std::move(events);
    if (!carry_on_idle(state)) begin_anew(state);
    return std::make_unique<CallHandle>(std::move(state));
  }

  void begin_anew(std::shared_ptr<CallState> state) override {
    if (state->is_over) return;
    if (address_.tls) {
      TlsSocket socket(io_, *tls_);
      SSL_set_tlsext_host_name(socket.native_handle(), address_.host.c_str());
      socket.set_verify_callback(asio::ssl::host_name_verification(address_.host));
      open_connection(secure_, std::move(socket), std::move(state));
    } else {
      open_connection(plain_, PlainSocket(io_), std::move(state));
    }
  }

  void became_idle(AnyConnection& connection) override {
    idle_.push_back(&connection);
    if (idle_.size() > kMaxIdle) idle_.front()->close();
    drop_old();
  }

  void was_closed(AnyConnection& connection) override {
    std::erase(idle_, &connection);
    // Let go of from outside the connection's own functions.
    const auto take = [&](auto& connections) {
      for (auto it = connections.begin(); it != connections.end(); ++it) {
        if (it->get() != &connection) continue;
        asio::post(io_, [kept = *it] {});
        connections.erase(it);
        return;
      }
    };
    take(plain_);
    take(secure_);
  }

  const UpstreamAddress& address() const { return address_; }
  std::int32_t num_connections() const {
    return static_cast<std::int32_t>(plain_.size() + secure_.size());
  }

 private:
  template <typename Socket>
  using Connections = std::list<std::shared_ptr<Connection<Socket>>>;

  bool carry_on_idle(const std::shared_ptr<CallState>& state) {
    drop_old();
    if (idle_.empty()) return false;
    AnyConnection* connection = idle_.back();  // the one that is warmest
    idle_.pop_back();
    connection->carry(state);
    return true;
  }

  void drop_old() {
    while (!idle_.empty() && monotonic_us() - idle_.front()->idle_since_us() > kMaxIdleUs) {
      idle_.front()->close();
    }
  }

  template <typename Socket>
  void open_connection(Connections<Socket>& connections, Socket socket,
                       std::shared_ptr<CallState> state) {
    auto connection =
        std::make_shared<Connection<Socket>>(std::move(socket), *this, std::vector<Endpoint>());
    connections.push_back(connection);
    connection->carry(std::move(state));
    // Posted: no event of a call may come before call() has returned.
    if (!address_.unix_path.empty()) {
      connection->set_endpoints({asio::local::stream_protocol::endpoint(address_.unix_path)});
      return asio::post(io_, [connection] { connection->connect(); });
    }
    error_code error;
    const auto literal = asio::ip::make_address(address_.host, error);
    if (!error) {
      connection->set_endpoints({asio::ip::tcp::endpoint(literal, address_.port)});
      return asio::post(io_, [connection] { connection->connect(); });
    }
    resolver_.async_resolve(address_.host, std::to_string(address_.port),
                            [connection](error_code failed, const auto& found) {
                              std::vector<Endpoint> endpoints;
                              for (const auto& entry : found) endpoints.push_back(entry.endpoint());
                              if (failed) {
                                return connection->fail(Kind::kConnect, failed.message());
                              }
                              connection->set_endpoints(std::move(endpoints));
                              connection->connect();
                            });
  }

  asio::io_context& io_;
  UpstreamAddress address_;
  asio::ip::tcp::resolver resolver_;
  std::optional<asio::ssl::context> tls_;
  Connections<PlainSocket> plain_;
  Connections<TlsSocket> secure_;
  std::deque<AnyConnection*> idle_;  // those that carry nothing, the longest idle first
};

Result<std::unique_ptr<UpstreamClient>> UpstreamClient::create(EventLoop& loop,
                                                               UpstreamAddress address) {
  auto impl = std::make_unique<Impl>(loop, std::move(address));
  TANDEM_TRY_STATUS(impl->open());
  return std::unique_ptr<UpstreamClient>(new UpstreamClient(std::move(impl)));
}

UpstreamClient::UpstreamClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UpstreamClient::~UpstreamClient() = default;

std::unique_ptr<UpstreamCall> UpstreamClient::call(UpstreamRequest request, UpstreamEvents events) {
  return impl_->call(std::move(request), std::move(events));
}
const UpstreamAddress& UpstreamClient::address() const {
  return impl_->address();
}
std::int32_t UpstreamClient::num_connections() const {
  return impl_->num_connections();
}

}  // namespace tandem
