#pragma once

// Internal to http_server.cpp and request_reader.cpp, the files that are compiled with Boost's
// headers.

#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "server/http/event_loop_asio.h"
#include "server/http/http_server.h"

namespace tandem::http_internal {

namespace asio = boost::asio;
using boost::system::error_code;
using Strand = asio::strand<asio::io_context::executor_type>;
using PlainSocket = asio::basic_stream_socket<asio::generic::stream_protocol, Strand>;
using TlsSocket = asio::ssl::stream<PlainSocket>;

class AnyConnection {
 public:
  virtual ~AnyConnection() = default;
  virtual void close_soon() = 0;
};

// What connections share, kept alive by each of them.
struct ServerState {
  explicit ServerState(HttpServerOptions given) : options(std::move(given)) {}

  HttpServerOptions options;
  std::unique_ptr<EventLoop> own_loop =
      options.loop == nullptr ? std::make_unique<EventLoop>(EventLoop::Threads::kSeveral) : nullptr;
  asio::io_context& io = (own_loop ? own_loop.get() : options.loop)->impl().io;
  HttpHandler handler;
  std::atomic<bool> is_accepting{true};
  std::atomic<bool> is_over{false};  // the handler is no more
  std::atomic<std::uint64_t> held_body_bytes{0};
  std::mutex mutex;
  std::map<AnyConnection*, std::weak_ptr<AnyConnection>> connections;  // guarded by mutex
};

// "127.0.0.1", "::1"; "unix" of a Unix socket.
std::string address_text(const asio::generic::stream_protocol::endpoint& endpoint);
std::string header_text(int status, const HttpResponse& response, std::string_view framing,
                        bool keep_alive);

inline PlainSocket& plain(PlainSocket& socket) {
  return socket;
}
inline PlainSocket& plain(TlsSocket& socket) {
  return socket.next_layer();
}

}  // namespace tandem::http_internal
