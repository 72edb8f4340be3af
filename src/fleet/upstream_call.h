#pragma once

// Internal to upstream_client.cpp.

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "fleet/upstream_client.h"
#include "server/http/event_loop_asio.h"

namespace tandem::upstream_internal {

namespace asio = boost::asio;
using boost::system::error_code;
// Of this very executor: one of any kind is asked for its kind with every read.
using PlainSocket =
    asio::basic_stream_socket<asio::generic::stream_protocol, asio::io_context::executor_type>;
using TlsSocket = asio::ssl::stream<PlainSocket>;
using Endpoint = asio::generic::stream_protocol::endpoint;
using Kind = UpstreamFailure::Kind;

inline PlainSocket& plain(PlainSocket& socket) {
  return socket;
}
inline PlainSocket& plain(TlsSocket& socket) {
  return socket.next_layer();
}

// The state of a call, shared by its owner's handle and the connection that carries it.
struct CallState {
  UpstreamRequest request;
  UpstreamEvents events;
  std::string head_text;
  std::int64_t started_us = monotonic_us();
  bool is_over = false;  // cancelled, ended or failed
  bool is_paused = false;
  bool has_answer = false;          // a byte of the answer was seen
  bool has_body = false;            // of its body
  std::function<void()> on_change;  // set by the connection: pause, resume or cancel

  void fail(Kind kind, std::string message) {
    if (std::exchange(is_over, true)) return;
    const auto tell = std::move(events.on_failure);
    events = {};
    if (tell) tell({kind, std::move(message)});
  }
};

class AnyConnection {
 public:
  virtual ~AnyConnection() = default;
  virtual void carry(std::shared_ptr<CallState> call) = 0;
  virtual void close() = 0;
  virtual bool is_idle() const = 0;
  virtual std::int64_t idle_since_us() const = 0;
};

// What connections tell the client that owns them.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual void became_idle(AnyConnection& connection) = 0;
  virtual void was_closed(AnyConnection& connection) = 0;
  // The call could not even begin on a kept connection: once more, on a fresh one.
  virtual void begin_anew(std::shared_ptr<CallState> call) = 0;
};

}  // namespace tandem::upstream_internal
