#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "fleet/dispatch.h"
#include "fleet/request_scan.h"
#include "server/http/http_exchange.h"

namespace tandem {

// What the router has found out about a request before it is passed on.
struct RoutedRequest {
  Demand demand;
  std::string target;  // path and query as they go to the backend
  RequestScan scan;    // of the body; where it names no model, none is put in
};

// One request on its way through: waits for a place, goes to a backend, and its answer back to the
// client event by event. While nothing of an answer has gone out, another backend may be tried;
// afterwards a failure becomes the stream's last event. The client's going ends all of it. Keeps
// itself alive. On the loop, which must also be the exchange's.
class ProxiedRequest : public std::enable_shared_from_this<ProxiedRequest> {
 public:
  // How it ended, for counting: status is what the client got, 499 where it went.
  struct Ending {
    std::string model;
    std::string backend;  // the last one; empty: none
    int status = 0;
    std::int32_t num_retries = 0;
    std::int64_t num_events = 0;
    std::int64_t waited_us = 0;  // for a place
    bool broke = false;          // in the middle of the answer
  };

  // `dispatcher` must outlive the request.
  static void start(std::shared_ptr<HttpExchange> exchange, RoutedRequest request,
                    Dispatcher& dispatcher, std::function<void(const Ending&)> on_ending);

 private:
  ProxiedRequest(std::shared_ptr<HttpExchange> exchange, RoutedRequest request,
                 Dispatcher& dispatcher, std::function<void(const Ending&)> on_ending);

  void acquire();
  void take(Grant grant);
  void send();
  HttpHeaders request_headers() const;
  std::shared_ptr<const std::string> request_body() const;
  void on_head(UpstreamHead head);
  void on_body(std::string piece);
  void relay_events(std::string piece);
  void relay(std::string piece);
  void begin_stream();
  void on_end();
  void on_failure(const UpstreamFailure& failure);
  bool try_another(LeaseEnd end);
  void fail(const ApiError& error);
  void on_gone();
  void finish(int status);
  void release(LeaseEnd end);
  HttpResponse answer_head() const;

  std::shared_ptr<HttpExchange> exchange_;
  RoutedRequest request_;
  Dispatcher& dispatcher_;
  std::function<void(const Ending&)> on_ending_;
  Ending ending_;
  std::int64_t began_us_ = 0;
  std::unique_ptr<Ticket> ticket_;
  std::unique_ptr<Lease> lease_;
  std::unique_ptr<UpstreamCall> call_;
  UpstreamHead head_;
  std::string pending_;     // of the answer: what may not go out yet
  bool is_events_ = false;  // the answer is a stream of events
  bool has_begun_ = false;  // something of it has gone out
  bool is_opaque_ = false;  // it cannot be ended by an event
  bool is_over_ = false;
};

}  // namespace tandem
