#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/http/event_loop.h"
#include "server/http/http_message.h"

namespace tandem {

// Where an HTTP/1.1 server is: a Unix socket, or a host and port, with TLS or without.
struct UpstreamAddress {
  std::string unix_path;  // if not empty, the only thing that counts
  std::string host;
  std::uint16_t port = 0;
  bool tls = false;
  std::string ca_file;    // PEM that the certificate must descend from; empty: the
                          // system's
  std::string base_path;  // goes before every target: "" or "/prefix"
  std::string to_string() const;
  bool operator==(const UpstreamAddress&) const = default;
};

struct UpstreamRequest {
  std::string method = "GET";
  std::string target;   // "/v1/models", encoded
  HttpHeaders headers;  // end to end only; Host and the body's length are added
  std::shared_ptr<const std::string> body;
  std::int64_t connect_timeout_ms = 5'000;
  std::int64_t first_byte_timeout_ms =
      600'000;                              // from the start to the answer's first byte of body
  std::int64_t stall_timeout_ms = 120'000;  // between two bytes from then on
  std::int64_t deadline_us = 0;             // monotonic, for all of it; 0: none
};

struct UpstreamHead {
  int status = 0;
  HttpHeaders headers;  // names in lower case, hop-by-hop ones left out
  // A header's value, nullptr where it is not there. name: in lower case.
  const std::string* header(std::string_view name) const;
};

struct UpstreamFailure {
  enum class Kind : std::uint8_t {
    kConnect,    // nobody there, or no TLS with it
    kReset,      // it went in the middle
    kTimeout,    // no first byte within first_byte_timeout_ms, none more within
                 // stall_timeout_ms
    kDeadline,   // deadline_us has passed
    kMalformed,  // what it said is not HTTP
  };
  Kind kind = Kind::kConnect;
  std::string message;
};

// What becomes of a call. Called on the loop, in this order: on_head once, on_body any number of
// times, then on_end; or on_failure at any point, last. None after cancel(), and none before call()
// has returned. They may cancel or drop the call.
struct UpstreamEvents {
  std::function<void(UpstreamHead head)> on_head;
  std::function<void(std::string piece)> on_body;  // never empty, at most 64 KiB
  std::function<void()> on_end;
  std::function<void(UpstreamFailure failure)> on_failure;
};

// A request on its way. Dropping it cancels it.
class UpstreamCall {
 public:
  virtual ~UpstreamCall() = default;
  // Closes the connection: the server sees its client go. Idempotent.
  virtual void cancel() = 0;
  // No further on_body (but for one that is on its way) until resume(). While paused the server is
  // not read from, and no stall is counted.
  virtual void pause() = 0;
  virtual void resume() = 0;
};

// A client of one server: keeps connections alive between calls, notices when idle ones are closed,
// and takes a fresh one where a kept one turns out dead before any byte of the answer. One loop;
// everything is called on its thread.
class UpstreamClient {
 public:
  // Errors: kMalformed, kIo for a ca_file.
  static Result<std::unique_ptr<UpstreamClient>> create(EventLoop& loop, UpstreamAddress address);
  // Cancels all calls without a word and closes all connections.
  ~UpstreamClient();

  std::unique_ptr<UpstreamCall> call(UpstreamRequest request, UpstreamEvents events);
  const UpstreamAddress& address() const;
  // Open connections, idle ones included.
  std::int32_t num_connections() const;

 private:
  class Impl;
  explicit UpstreamClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
