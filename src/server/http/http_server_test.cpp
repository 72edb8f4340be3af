#include "server/http/http_server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>

#include "server/http/test_client_for_test.h"

namespace tandem {
namespace {

using namespace std::chrono_literals;

class HttpServerTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    options.port = 0;
    options.make_error = [](int status, const std::string& message) {
      return HttpResponse{status, "text/plain", message, {}};
    };
    auto server =
        HttpServer::start(std::move(options), [this](auto exchange) { handle(exchange); });
    ASSERT_TRUE(server.ok()) << server.error().to_string();
    server_ = std::move(*server);
  }

  void handle(const std::shared_ptr<HttpExchange>& exchange) {
    const HttpRequest& request = exchange->request();
    if (request.path == "/echo") {
      exchange->respond({200, "text/plain", request.method + " " + request.body, {}});
    } else if (request.path == "/stream") {
      exchange->begin_stream({200, "text/event-stream", "", {}});
      for (int i = 0; i < 3; ++i) exchange->send(fmt::format("piece {}\n", i));
      exchange->end_stream();
    } else if (request.path == "/wait" || request.path == "/flood") {
      exchange->on_gone([this] { ++gone_; });
      if (request.path == "/flood") exchange->begin_stream({});
      const std::lock_guard lock(mutex_);
      held_ = exchange;
    } else {
      exchange->respond({404, "text/plain", "no " + request.path, {}});
    }
  }

  std::shared_ptr<HttpExchange> wait_for_held() {
    for (int i = 0; i < 1000; ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (held_) return std::exchange(held_, nullptr);
      }
      std::this_thread::sleep_for(5ms);
    }
    return nullptr;
  }

  // The answer to bytes as they are.
  TestResponse raw(std::string_view bytes) {
    TestClient client(server_->port());
    client.send(bytes);
    return parse_response(client.read_all());
  }

  std::mutex mutex_;
  std::shared_ptr<HttpExchange> held_;  // guarded by mutex_
  std::atomic<int> gone_ = 0;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersWholeAndInPieces) {
  start();
  EXPECT_EQ(fetch(server_->port(), "POST", "/echo", "hello").body, "POST hello");
  const TestResponse stream = fetch(server_->port(), "GET", "/stream");
  EXPECT_NE(stream.head.find("chunked"), std::string::npos);
  EXPECT_EQ(stream.body, "piece 0\npiece 1\npiece 2\n");
  EXPECT_EQ(fetch(server_->port(), "GET", "/a%20b").body, "no /a b");
}

TEST_F(HttpServerTest, KeepsConnectionsAndAnswersPipelinedRequestsInOrder) {
  start();
  TestClient client(server_->port());
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += fmt::format("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{:02}", i);
  }
  client.send(requests);
  for (int i = 0; i < 50; ++i) {
    const std::string end = fmt::format("POST {:02}", i);
    EXPECT_TRUE(client.read_until(end).ends_with(end));
  }
  EXPECT_EQ(server_->num_connections(), 1);
}

TEST_F(HttpServerTest, ListensOnAUnixSocketAndReplacesADeadOnes) {
  const std::string path = testing::TempDir() + fmt::format("tandem-{}.sock", ::getpid());
  HttpServerOptions options;
  options.host = path;
  start(options);
  const std::string request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
  TestClient client(path);
  client.send(request);
  EXPECT_TRUE(client.read_until("POST hi").ends_with("POST hi"));

  options.make_error = nullptr;
  const auto second = HttpServer::start(options, [](auto) {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kIo);

  server_.reset();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  // What a killed process leaves: a socket in the file system that nobody listens on.
  const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(dead);
  start(options);
  TestClient again(path);
  again.send(request);
  EXPECT_TRUE(again.read_until("POST hi").ends_with("POST hi"));
}

TEST_F(HttpServerTest, RefusesAPathThatIsTooLongForASocket) {
  HttpServerOptions options;
  options.host = "/tmp/" + std::string(200, 'x') + ".sock";
  const auto server = HttpServer::start(options, [](auto) {});
  ASSERT_FALSE(server.ok());
  EXPECT_EQ(server.error().code, ErrorCode::kIo);
}

TEST_F(HttpServerTest, TellsWhenAClientHasReadEnough) {
  start();
  TestClient client(server_->port());
  client.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
  const auto exchange = wait_for_held();
  ASSERT_NE(exchange, nullptr);
  // More than the system's buffers take, so that it stays here until the client reads: nothing of
  // it leaves any more.
  int quiet_rounds = 0;
  for (std::size_t sent = 0; quiet_rounds < 5 && sent < (64u << 20);) {
    const std::size_t before = exchange->unsent_bytes();
    if (before < HttpExchange::kFullBytes) {
      exchange->send(std::string(32 * 1024, 'x'));
      sent += 32 * 1024;
      std::this_thread::sleep_for(1ms);
    } else {
      std::this_thread::sleep_for(20ms);
    }
    const bool stays = before >= HttpExchange::kFullBytes && exchange->unsent_bytes() == before;
    quiet_rounds = stays ? quiet_rounds + 1 : 0;
  }
  ASSERT_EQ(quiet_rounds, 5);
  std::atomic<bool> has_room = false;
  exchange->when_there_is_room([&] { has_room = true; });
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(has_room);
  exchange->post([&] { exchange->send("the end"); });
  EXPECT_TRUE(client.read_until("the end").ends_with("the end"));
  for (int i = 0; i < 500 && !has_room; ++i) std::this_thread::sleep_for(2ms);
  EXPECT_TRUE(has_room);
  exchange->end_stream();
}

TEST_F(HttpServerTest, AnAbortedAnswerLooksAborted) {
  start();
  TestClient client(server_->port());
  client.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
  const auto exchange = wait_for_held();
  ASSERT_NE(exchange, nullptr);
  exchange->send("half");
  client.read_until("half");
  exchange->abort();
  EXPECT_EQ(client.read_all().find("0\r\n\r\n"), std::string::npos);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServerTest, SharesALoopAndMayGoWhileItRuns) {
  EventLoop loop;
  std::thread runner([&] { loop.run(); });
  const auto on_loop = [&](auto task) {
    std::promise<void> done;
    loop.post([&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  };
  HttpServerOptions options;
  options.loop = &loop;
  on_loop([&] { start(options); });
  const std::uint16_t port = server_->port();
  EXPECT_EQ(fetch(port, "POST", "/echo", "hello").body, "POST hello");
  TestClient idle(port);
  idle.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_NE(wait_for_held(), nullptr);
  on_loop([&] { server_.reset(); });
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_TRUE(idle.is_closed());
  EventLoop::Timer timer(loop);
  std::promise<void> expired;
  loop.post([&] {
    timer.start(10'000, [&] { ADD_FAILURE() << "was set anew"; });
    timer.start(1, [&] { expired.set_value(); });
  });
  EXPECT_EQ(expired.get_future().wait_for(10s), std::future_status::ready);
  on_loop([&] { timer.cancel(); });
  loop.stop();
  runner.join();
}

// What arrives while a request is being answered is read then, and parsed later; what arrives after
// that must not be mixed up with it.
TEST_F(HttpServerTest, RequestsThatArriveDuringAnAnswerStayWhole) {
  start();
  TestClient client(server_->port());
  const auto echo = [](const std::string& body) {
    return fmt::format("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{}",
                       body.size(), body);
  };
  for (int round = 0; round < 20; ++round) {
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    const auto exchange = wait_for_held();
    ASSERT_TRUE(exchange);
    client.send(echo("second " + std::string(std::size_t(round) * 7, 'x')));
    std::this_thread::sleep_for(5ms);
    exchange->respond({200, "text/plain", "first", {}});
    client.read_until("first");
    const std::string second = "POST second " + std::string(std::size_t(round) * 7, 'x');
    ASSERT_TRUE(client.read_until(second).ends_with(second));
    client.send(echo("third"));
    ASSERT_TRUE(client.read_until("POST third").ends_with("POST third")) << round;
  }
}

TEST_F(HttpServerTest, TakesABodyInChunks) {
  start();
  EXPECT_EQ(raw("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: "
                "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
                .body,
            "POST abcde");
}

TEST_F(HttpServerTest, SaysContinueToThoseWhoAsk) {
  start();
  TestClient client(server_->port());
  client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hi");
  EXPECT_TRUE(client.read_until("POST hi").ends_with("POST hi"));
}

TEST_F(HttpServerTest, AnswersHttp10WithoutChunks) {
  start();
  const TestResponse response = raw("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.head.find("chunked"), std::string::npos);
  EXPECT_EQ(response.body, "piece 0\npiece 1\npiece 2\n");
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  start();
  const TestResponse response = fetch(server_->port(), "HEAD", "/echo");
  EXPECT_NE(response.head.find("Content-Length: 5"), std::string::npos);
  EXPECT_EQ(response.body, "");
}

TEST_F(HttpServerTest, RefusesWhatCouldBeReadInTwoWays) {
  start();
  const char* const requests[] = {
      "GET / HTTP/1.1\r\n\r\n",                        // no Host
      "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",  // two
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
      "chunked\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: "
      "3\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
      "GET / HTTP/1.1\r\nHost : a\r\n\r\n",         // space before the colon
      "GET / HTTP/9.9\r\nHost: a\r\n\r\n",          // no such version
      "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",  // absolute form
      "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
      "\x16\x03\x01\x02\r\n\r\n",  // the beginning of TLS
  };
  for (const char* request : requests) {
    const TestResponse response = raw(request);
    EXPECT_EQ(response.status, 400) << request << response.body;
    EXPECT_NE(response.head.find("Connection: close"), std::string::npos) << request;
  }
  EXPECT_EQ(fetch(server_->port(), "POST", "/echo", "ok").body, "POST ok");
}

TEST_F(HttpServerTest, HoldsItsLimits) {
  start({.max_header_bytes = 1000, .max_body_bytes = 100});
  EXPECT_EQ(fetch(server_->port(), "GET", "/" + std::string(2000, 'x')).status, 431);
  EXPECT_EQ(fetch(server_->port(), "POST", "/echo", std::string(101, 'x')).status, 413);
  EXPECT_EQ(fetch(server_->port(), "POST", "/echo", std::string(100, 'x')).status, 200);
  EXPECT_EQ(raw("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" +
                std::string(255, 'y') + "\r\n0\r\n\r\n")
                .status,
            413);
}

TEST_F(HttpServerTest, HoldsNoMoreBodiesThanItsLimit) {
  start({.max_body_bytes = 100, .max_held_body_bytes = 150});
  // What goes on at the other connections is seen a moment later.
  const auto becomes = [this](int wanted, std::size_t bytes) {
    int status = 0;
    for (int i = 0; i < 1000 && status != wanted; ++i) {
      status = fetch(server_->port(), "POST", "/echo", std::string(bytes, 'y')).status;
    }
    return status == wanted;
  };
  const std::string header = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
  TestClient first(server_->port());
  first.send(header + std::string(50, 'x'));
  EXPECT_TRUE(becomes(503, 100));
  const std::string chunk = std::string(64, 'y') + "\r\n0\r\n\r\n";
  EXPECT_EQ(
      raw("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + chunk)
          .status,
      503);
  EXPECT_TRUE(becomes(200, 50));
  first.send(std::string(50, 'x'));
  EXPECT_TRUE(first.read_until("POST xxx").ends_with("POST xxx"));
  // Neither an answered request is held any more, nor one whose client is gone.
  EXPECT_TRUE(becomes(200, 100));
  {
    TestClient second(server_->port());
    second.send(header);
    EXPECT_TRUE(becomes(503, 100));
  }
  EXPECT_TRUE(becomes(200, 100));
}

TEST_F(HttpServerTest, CutsOffThoseWhoTakeTooLong) {
  start({.header_timeout_ms = 150, .body_timeout_ms = 150, .idle_timeout_ms = 150});
  TestClient slow_header(server_->port());
  slow_header.send("GET / HTTP/1.1\r\nHost:");
  TestClient slow_body(server_->port());
  slow_body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  TestClient silent(server_->port());
  EXPECT_EQ(parse_response(slow_header.read_all()).status, 408);
  EXPECT_EQ(parse_response(slow_body.read_all()).status, 408);
  EXPECT_EQ(silent.read_all(), "");
  EXPECT_TRUE(silent.is_closed());
}

TEST_F(HttpServerTest, SeesAClientGoWhileItWaits) {
  start();
  auto client = std::make_unique<TestClient>(server_->port());
  client->send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  EXPECT_EQ(gone_, 0);
  client.reset();
  for (int i = 0; i < 400 && gone_ == 0; ++i) std::this_thread::sleep_for(5ms);
  EXPECT_EQ(gone_, 1);
  exchange->respond({});  // does nothing
}

TEST_F(HttpServerTest, CutsOffAClientThatDoesNotRead) {
  start({.max_unsent_bytes = 100'000});
  TestClient client(server_->port());
  client.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  for (int i = 0; i < 2000 && gone_ == 0; ++i) {
    exchange->send(std::string(20'000, 'x'));
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_EQ(gone_, 1);
}

TEST_F(HttpServerTest, AnAbortedAnswerHasNoProperEnd) {
  start();
  TestClient client(server_->port());
  client.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  exchange->send("half");
  EXPECT_TRUE(client.read_until("half\r\n").ends_with("half\r\n"));
  server_.reset();
  EXPECT_EQ(client.read_all(), "") << "no closing chunk";
}

TEST_F(HttpServerTest, RefusesMoreConnectionsThanItsLimit) {
  start({.max_connections = 2});
  TestClient a(server_->port());
  TestClient b(server_->port());
  while (server_->num_connections() < 2) std::this_thread::sleep_for(1ms);
  TestClient c(server_->port());
  c.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(c.read_all(), "");
  EXPECT_TRUE(c.is_closed());
}

TEST_F(HttpServerTest, LeavesNothingBehindAThousandAborts) {
  start();
  for (int i = 0; i < 1000; ++i) {
    TestClient client(server_->port());
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  for (int i = 0; i < 1000 && server_->num_connections() > 0; ++i) {
    const std::lock_guard lock(mutex_);
    held_.reset();
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(server_->num_connections(), 0);
}

TEST_F(HttpServerTest, SaysWhyItCannotListen) {
  start();
  HttpServerOptions options;
  options.port = server_->port();
  const auto second = HttpServer::start(options, [](auto) {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace tandem
