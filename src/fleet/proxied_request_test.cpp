#include "fleet/proxied_request.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/clock.h"
#include "fleet/scripted_upstream_for_test.h"
#include "server/http/test_client_for_test.h"

namespace tandem {
namespace {

using Mode = ScriptedUpstream::Mode;

// Gives every request the first backend that it has not tried; keeps it waiting where there is none
// for its model, and tells what was given back.
class TestDispatcher : public Dispatcher {
 public:
  struct Backend {
    std::string name;
    std::unique_ptr<UpstreamClient> client;
  };

  class TestLease : public Lease {
   public:
    TestLease(TestDispatcher& owner, Backend& backend) : owner_(owner), backend_(backend) {}
    ~TestLease() override { finish(LeaseEnd::kCancelled); }
    UpstreamClient& client() override { return *backend_.client; }
    const std::string& backend() const override { return backend_.name; }
    std::string identity() const override { return backend_.name; }
    const std::string& remote_model() const override { return owner_.remote_model; }
    const std::string& api_key() const override { return owner_.api_key; }
    const TrafficLimits& limits() const override { return owner_.limits; }
    std::int64_t connect_timeout_ms() const override { return 2000; }
    void note_progress(std::int64_t num_events) override { owner_.num_events += num_events; }
    void finish(LeaseEnd end) override {
      if (std::exchange(is_over_, true)) return;
      const std::lock_guard lock(owner_.mutex);
      owner_.ends.push_back(end);
    }

   private:
    TestDispatcher& owner_;
    Backend& backend_;
    bool is_over_ = false;
  };
  class TestTicket : public Ticket {
   public:
    explicit TestTicket(std::atomic<int>& count) : count_(count) { ++count_; }
    ~TestTicket() override { --count_; }

   private:
    std::atomic<int>& count_;
  };

  std::unique_ptr<Ticket> acquire(const Demand& demand,
                                  std::function<void(Grant grant)> granted) override {
    if (demand.model == "queued") return std::make_unique<TestTicket>(num_waiting);
    for (Backend& backend : backends) {
      if (std::ranges::find(demand.tried, backend.name) != demand.tried.end()) continue;
      granted(std::make_unique<TestLease>(*this, backend));
      return nullptr;
    }
    granted(ApiError{503, "no backend", "unavailable_error", {}, "no_backend", 3});
    return nullptr;
  }

  std::vector<Backend> backends;
  TrafficLimits limits;
  std::string remote_model = "m";
  std::string api_key;
  std::atomic<std::int64_t> num_events = 0;
  std::atomic<int> num_waiting = 0;
  std::mutex mutex;
  std::vector<LeaseEnd> ends;
};

class ProxiedRequestTest : public testing::Test {
 protected:
  void SetUp() override {
    loop_.run([&] {
      for (ScriptedUpstream* upstream : {&first_, &second_}) {
        UpstreamAddress address;
        address.host = "127.0.0.1";
        address.port = upstream->port();
        dispatcher_.backends.push_back({upstream == &first_ ? "first" : "second",
                                        std::move(*UpstreamClient::create(loop_.loop, address))});
      }
      HttpServerOptions options;
      options.port = 0;
      options.loop = &loop_.loop;
      options.make_error = [](int status, const std::string& message) {
        return HttpResponse{status, "text/plain", message, {}};
      };
      auto server = HttpServer::start(options, [this](auto exchange) { handle(exchange); });
      ASSERT_TRUE(server.ok());
      server_ = std::move(*server);
    });
  }
  void TearDown() override {
    loop_.run([&] { server_.reset(); });
    loop_.run([&] { dispatcher_.backends.clear(); });
  }

  void handle(const std::shared_ptr<HttpExchange>& exchange) {
    RoutedRequest request;
    request.target = exchange->request().path;
    if (const auto scan = scan_request(exchange->request().body); scan.ok()) request.scan = *scan;
    request.demand.model = request.scan.model.value_or("");
    if (deadline_ms_ > 0) request.demand.deadline_us = monotonic_us() + deadline_ms_ * 1000;
    ProxiedRequest::start(exchange, std::move(request), dispatcher_,
                          [this](const ProxiedRequest::Ending& ending) {
                            const std::lock_guard lock(dispatcher_.mutex);
                            endings_.push_back(ending);
                          });
  }
  TestResponse post(const std::string& body, const std::string& headers = {},
                    const std::string& path = "/v1/completions") {
    return fetch(server_->port(), "POST", path, body, headers);
  }
  bool has_ended(std::size_t count) {
    return eventually([&] {
      const std::lock_guard lock(dispatcher_.mutex);
      return endings_.size() >= count && dispatcher_.ends.size() >= count;
    });
  }

  ScriptedUpstream first_{"first"};
  ScriptedUpstream second_{"second"};
  LoopThread loop_;
  TestDispatcher dispatcher_;
  std::unique_ptr<HttpServer> server_;
  std::atomic<std::int64_t> deadline_ms_ = 0;
  std::vector<ProxiedRequest::Ending> endings_;
};

constexpr const char* kWhole = R"({"model":"m","prompt":"p"})";
constexpr const char* kStream = R"({"model":"m","prompt":"p","stream":true})";

TEST_F(ProxiedRequestTest, PassesAnswersThroughUnchanged) {
  const TestResponse whole = post(kWhole);
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.body, R"({"mark":"first","prompt":"p"})");
  EXPECT_NE(whole.head.find("X-Tandem-Backend: first"), std::string::npos);
  EXPECT_NE(whole.head.find("Content-Length: 29"), std::string::npos) << whole.head;
  const TestResponse streamed = post(kStream);
  EXPECT_TRUE(
      streamed.body.ends_with("\"index\":3,\"mark\":\"first\",\"prompt\":\"p\"}\n\n"
                              "data: [DONE]\n\n"))
      << streamed.body;
  ASSERT_TRUE(has_ended(2));
  EXPECT_EQ(dispatcher_.num_events, 5);
  EXPECT_EQ(endings_[1].num_events, 5);
  EXPECT_EQ(dispatcher_.ends[1], LeaseEnd::kAnswered);
}

TEST_F(ProxiedRequestTest, ALongAnswerThatIsNoStreamComesWholeToo) {
  const std::string prompt(3 << 20, 'x');
  const TestResponse answer = post(R"({"model":"m","prompt":")" + prompt + "\"}");
  EXPECT_EQ(answer.body, R"({"mark":"first","prompt":")" + prompt + "\"}");
}

TEST_F(ProxiedRequestTest, KeepsClientsSecretsAndConnectionFieldsToItself) {
  dispatcher_.api_key = "theirs";
  dispatcher_.remote_model = "their/name";
  post(kWhole,
       "Authorization: Bearer ours\r\nX-Api-Key: ours\r\nCookie: "
       "a=b\r\nX-Private: 1\r\n"
       "TE: trailers\r\nX-Kept: yes\r\nUpgrade: "
       "websocket\r\nConnection: close, x-private\r\n");
  const std::string seen = first_.last_request();
  EXPECT_NE(seen.find("authorization: Bearer theirs"), std::string::npos) << seen;
  EXPECT_NE(seen.find("x-kept: yes"), std::string::npos);
  EXPECT_NE(seen.find(R"("model":"their/name")"), std::string::npos);
  for (const char* hidden : {"ours", "cookie", "x-private", "te:", "upgrade"}) {
    EXPECT_EQ(seen.find(hidden), std::string::npos) << hidden << " in " << seen;
  }
}

TEST_F(ProxiedRequestTest, TriesAnotherBackendWhileNothingHasGoneOut) {
  first_.set_mode(Mode::kDieAtOnce);
  const TestResponse streamed = post(kStream);
  EXPECT_NE(streamed.body.find("\"mark\":\"second\""), std::string::npos) << streamed.body;
  first_.set_mode(Mode::kRefuse, 503);
  EXPECT_EQ(post(kWhole).body, R"({"mark":"second","prompt":"p"})");
  ASSERT_TRUE(has_ended(2));
  EXPECT_EQ(endings_[0].num_retries, 1);
  EXPECT_EQ(dispatcher_.ends[0], LeaseEnd::kFailed);
  EXPECT_EQ(dispatcher_.ends[2], LeaseEnd::kRefused);
}

TEST_F(ProxiedRequestTest, SaysWhatTheLastBackendSaidWhenAllRefuse) {
  first_.set_mode(Mode::kRefuse, 503);
  second_.set_mode(Mode::kRefuse, 429);
  const TestResponse answer = post(kWhole);
  EXPECT_EQ(answer.status, 429);
  EXPECT_NE(answer.body.find("refused"), std::string::npos);
  first_.set_mode(Mode::kDieAtOnce);
  second_.set_mode(Mode::kDieAtOnce);
  EXPECT_EQ(post(kWhole).status, 503);
  dispatcher_.limits.max_retries = 0;
  const TestResponse broken = post(kWhole);
  EXPECT_EQ(broken.status, 502);
  EXPECT_NE(broken.body.find("first: "), std::string::npos);
}

TEST_F(ProxiedRequestTest, ABreakInTheMiddleIsTheStreamsLastEvent) {
  first_.set_mode(Mode::kDieMidway);
  const TestResponse answer = post(kStream);
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find("\"index\":1"), std::string::npos);
  const auto last = answer.body.rfind("data: ");
  const auto error = nlohmann::json::parse(answer.body.substr(last + 6), nullptr, false);
  EXPECT_EQ(error["error"]["code"], "backend_failed") << answer.body;
  EXPECT_EQ(second_.num_requests, 0);
  EXPECT_NE(post(kStream, {}, "/v1/messages").body.find("event: error\ndata: "), std::string::npos);
  ASSERT_TRUE(has_ended(2));
  EXPECT_TRUE(endings_[0].broke);
}

TEST_F(ProxiedRequestTest, AStallIsAnErrorAfterItsTime) {
  first_.set_mode(Mode::kStall);
  dispatcher_.limits.stall_timeout_ms = 100;
  EXPECT_NE(post(kStream).body.find("backend_timeout"), std::string::npos);
  first_.set_mode(Mode::kHang);
  dispatcher_.limits.first_event_timeout_ms = 100;
  // Nothing has gone out: the other one may answer.
  EXPECT_EQ(post(kWhole).body, R"({"mark":"second","prompt":"p"})");
  ASSERT_TRUE(has_ended(2));
  EXPECT_EQ(dispatcher_.ends[0], LeaseEnd::kTimedOut);
}

TEST_F(ProxiedRequestTest, TheRequestsTimeIsPassedOnAndKept) {
  deadline_ms_ = 200;
  first_.set_mode(Mode::kHang);
  const TestResponse answer = post(kWhole);
  EXPECT_EQ(answer.status, 504);
  EXPECT_EQ(second_.num_requests, 0);
  EXPECT_TRUE(eventually([&] { return first_.num_gone == 1; }, 1000));
  const std::string seen = first_.last_request();
  const auto at = seen.find("x-request-timeout: ");
  ASSERT_NE(at, std::string::npos) << seen;
  const double seconds = std::stod(seen.substr(at + 19));
  EXPECT_GT(seconds, 0.0);
  EXPECT_LE(seconds, 0.2);
}

TEST_F(ProxiedRequestTest, AClientsGoingReachesTheBackendWithinASecond) {
  for (const char* body : {kStream, kWhole}) {
    first_.event_delay_ms = 60'000;
    const int gone = first_.num_gone;
    {
      TestClient client(server_->port());
      client.send(
          fmt::format("POST /v1/completions HTTP/1.1\r\nHost: "
                      "a\r\nContent-Length: {}\r\n\r\n{}",
                      std::string_view(body).size(), body));
      ASSERT_TRUE(eventually([&] { return first_.num_running == 1; }));
    }
    EXPECT_TRUE(eventually([&] { return first_.num_gone == gone + 1; }, 1000));
  }
  ASSERT_TRUE(has_ended(2));
  EXPECT_EQ(dispatcher_.ends[0], LeaseEnd::kCancelled);
  EXPECT_EQ(endings_[0].status, 499);
}

TEST_F(ProxiedRequestTest, AClientsGoingGivesItsPlaceInTheQueueUp) {
  {
    TestClient client(server_->port());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "
        "18\r\n\r\n{\"model\":\"queued\"}");
    ASSERT_TRUE(eventually([&] { return dispatcher_.num_waiting == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return dispatcher_.num_waiting == 0; }, 1000));
}

TEST_F(ProxiedRequestTest, AClientThatDoesNotReadHoldsItsBackendBack) {
  first_.num_events = 400'000;  // some 20 MB
  TestClient client(server_->port());
  client.send(
      fmt::format("POST /v1/completions HTTP/1.1\r\nHost: "
                  "a\r\nContent-Length: {}\r\n\r\n{}",
                  std::string_view(kStream).size(), kStream));
  ASSERT_TRUE(eventually([&] { return dispatcher_.num_events > 0; }));
  std::int64_t seen = -1;
  ASSERT_TRUE(eventually([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return std::exchange(seen, dispatcher_.num_events.load()) == dispatcher_.num_events;
  }));
  EXPECT_LT(seen, first_.num_events);
  const std::string answer = client.read_until("[DONE]", 60'000);
  EXPECT_TRUE(answer.ends_with("[DONE]"));
}

TEST_F(ProxiedRequestTest, EventsThatComeInPiecesGoOutWhole) {
  RawUpstream upstream(
      "HTTP/1.1 200 OK\r\nContent-Type: "
      "text/event-stream\r\nConnection: close\r\n\r\n"
      "data: {\"a\":1}\n\ndata: {\"b\"");
  loop_.run([&] {
    UpstreamAddress address;
    address.host = "127.0.0.1";
    address.port = upstream.port();
    dispatcher_.backends.clear();
    dispatcher_.backends.push_back(
        {"raw", std::move(*UpstreamClient::create(loop_.loop, address))});
  });
  EXPECT_EQ(post(kStream).body, "data: {\"a\":1}\n\ndata: {\"b\"");
}

}  // namespace
}  // namespace tandem
