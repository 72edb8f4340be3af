#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/http/http_message.h"

namespace tandem {

// A request and the way to answer it: once whole by respond(), or in pieces by begin_stream(),
// send() and end_stream(). All functions may be called from any thread and return at once; calls
// after the answer's end or the client's going do nothing. Each exchange must be answered: its
// connection waits for that.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  virtual const HttpRequest& request() const = 0;

  virtual void respond(HttpResponse response) = 0;
  // Sends status and headers; the length is left open. response.body is its first piece.
  virtual void begin_stream(HttpResponse response) = 0;
  // A client that leaves more than HttpServerOptions::max_unsent_bytes unread is cut off.
  virtual void send(std::string piece) = 0;
  virtual void end_stream() = 0;
  // Closes the connection, so that the client sees that what it got is not the whole answer.
  virtual void abort() = 0;
  // What was given to send() and has not left yet.
  virtual std::size_t unsent_bytes() const = 0;
  // Runs `task` once, on the connection's executor, when at most half of kFullBytes is unsent. For
  // who stops at kFullBytes; not at all once the answer has ended.
  virtual void when_there_is_room(std::function<void()> task) = 0;
  static constexpr std::size_t kFullBytes = 256 * 1024;

  // Called once, on the connection's executor, if the client goes before the answer's end.
  virtual void on_gone(std::function<void()> callback) = 0;
  // Runs `task` on the connection's executor: never at the same time as another of its tasks or
  // the request's handler.
  virtual void post(std::function<void()> task) = 0;
  // The same after `delay_ms`; not at all once the answer has ended.
  virtual void post_after(std::int64_t delay_ms, std::function<void()> task) = 0;
};

using HttpHandler = std::function<void(std::shared_ptr<HttpExchange>)>;

}  // namespace tandem
