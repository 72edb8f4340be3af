#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/http/http_server.h"
#include "server/http/test_certificate_for_test.h"

namespace tandem {

// A server that plays a model: answers completions with the mark it was given and the request's own
// prompt, streamed or whole, and misbehaves as it is told: by its mode, or by a request that says
// "die": true, whose connection it closes. On threads of its own.
class ScriptedUpstream {
 public:
  enum class Mode : std::uint8_t {
    kServe,
    kHang,       // takes requests and never answers; /health stays green
    kDieMidway,  // closes the connection after half of the events
    kDieAtOnce,  // closes it before any answer
    kStall,      // stops in the middle of an answer without closing
    kRefuse,     // answers `status`
  };

  // path: of a Unix socket; empty: any free port.
  // port: 0 for any free one. certificate: to speak TLS.
  explicit ScriptedUpstream(std::string mark, const std::string& path = {}, std::uint16_t port = 0,
                            const TestCertificate* certificate = nullptr);
  ~ScriptedUpstream();

  std::uint16_t port() const { return server_->port(); }
  void set_mode(Mode mode, int status = 503) {
    status_ = status;
    mode_ = mode;
  }

  // Unless a request says "events" and "delay_ms" itself.
  std::atomic<int> num_events = 4;      // of a stream
  std::atomic<int> event_delay_ms = 0;  // after each
  std::atomic<int> steps = -1;          // what /metrics says the model has computed; -1: no page
  std::atomic<int> num_requests = 0;    // completions that have come
  std::atomic<int> num_running = 0;     // that are neither answered nor given up
  std::atomic<int> num_gone = 0;        // whose client went before the end
  std::string last_request() const {    // head and body of the last completion
    const std::lock_guard lock(mutex_);
    return last_request_;
  }

 private:
  void handle(const std::shared_ptr<HttpExchange>& exchange);
  struct Script {
    std::string prompt;
    int num_events;
    int delay_ms;
  };
  void stream(const std::shared_ptr<HttpExchange>& exchange, const Script& script, int index);

  const std::string mark_;
  std::atomic<Mode> mode_ = Mode::kServe;
  std::atomic<int> status_ = 503;
  mutable std::mutex mutex_;
  std::string last_request_;  // guarded by mutex_
  std::unique_ptr<HttpServer> server_;
};

// Says `answer` to each connection as it is, once a request's head has come, and closes it.
class RawUpstream {
 public:
  explicit RawUpstream(std::string answer);
  ~RawUpstream();
  std::uint16_t port() const { return port_; }

 private:
  int socket_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

// A loop on a thread of its own, and a way to do things there.
class LoopThread {
 public:
  LoopThread() : thread_([this] { loop.run(); }) {}
  ~LoopThread() {
    loop.stop();
    thread_.join();
  }
  // Runs `task` on the loop and waits for it.
  void run(std::function<void()> task) {
    std::promise<void> done;
    loop.post([&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  }

  EventLoop loop;

 private:
  std::thread thread_;
};

// Until `condition` holds or `timeout_ms` have passed; what it was at the end.
bool eventually(const std::function<bool()>& condition, int timeout_ms = 10'000);

}  // namespace tandem
