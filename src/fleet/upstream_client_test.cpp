#include "fleet/upstream_client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>

#include "base/clock.h"
#include "fleet/http_fields.h"
#include "fleet/scripted_upstream_for_test.h"

namespace tandem {
namespace {

struct Outcome {
  std::atomic<int> status = 0;
  std::atomic<std::size_t> num_bytes = 0;
  std::string body;  // to be read once is_over
  std::atomic<bool> has_ended = false;
  std::optional<UpstreamFailure> failure;
  std::atomic<bool> is_over = false;
  HttpHeaders headers;
};

class UpstreamClientTest : public testing::Test {
 protected:
  void connect(std::uint16_t port) {
    UpstreamAddress address;
    address.host = "127.0.0.1";
    address.port = port;
    connect(address);
  }
  void connect(const UpstreamAddress& address) {
    loop_.run([&] {
      auto client = UpstreamClient::create(loop_.loop, address);
      ASSERT_TRUE(client.ok()) << client.error().to_string();
      client_ = std::move(*client);
    });
  }
  void TearDown() override {
    loop_.run([&] {
      calls_.clear();
      client_.reset();
    });
  }

  static UpstreamRequest completion(const std::string& body) {
    UpstreamRequest request;
    request.method = "POST";
    request.target = "/v1/completions";
    request.body = std::make_shared<const std::string>(body);
    return request;
  }

  std::shared_ptr<Outcome> begin(UpstreamRequest request) {
    auto outcome = std::make_shared<Outcome>();
    UpstreamEvents events;
    events.on_head = [outcome](UpstreamHead head) {
      outcome->status = head.status;
      outcome->headers = std::move(head.headers);
    };
    events.on_body = [outcome](std::string piece) {
      outcome->body += piece;
      outcome->num_bytes += piece.size();
    };
    events.on_end = [outcome] {
      outcome->has_ended = true;
      outcome->is_over = true;
    };
    events.on_failure = [outcome](UpstreamFailure failure) {
      outcome->failure = std::move(failure);
      outcome->is_over = true;
    };
    loop_.run([&] { calls_.push_back(client_->call(std::move(request), std::move(events))); });
    return outcome;
  }
  std::shared_ptr<Outcome> finish(UpstreamRequest request) {
    auto outcome = begin(std::move(request));
    EXPECT_TRUE(eventually([&] { return outcome->is_over.load(); }));
    return outcome;
  }

  LoopThread loop_;
  std::unique_ptr<UpstreamClient> client_;
  std::vector<std::unique_ptr<UpstreamCall>> calls_;
};

using Mode = ScriptedUpstream::Mode;

TEST_F(UpstreamClientTest, CarriesWholeAndStreamedAnswersOverOneConnection) {
  ScriptedUpstream upstream("m");
  connect(upstream.port());
  for (int i = 0; i < 3; ++i) {
    const auto whole = finish(completion(R"({"prompt":"p"})"));
    EXPECT_EQ(whole->status, 200);
    EXPECT_EQ(whole->body, R"({"mark":"m","prompt":"p"})");
    const auto streamed = finish(completion(R"({"prompt":"p","stream":true})"));
    EXPECT_TRUE(streamed->has_ended);
    EXPECT_TRUE(streamed->body.ends_with("data: [DONE]\n\n"));
  }
  loop_.run([&] { EXPECT_EQ(client_->num_connections(), 1); });
}

TEST_F(UpstreamClientTest, SpeaksToAUnixSocket) {
  const std::string path =
      testing::TempDir() + "tandem-client-" + std::to_string(::getpid()) + ".sock";
  ScriptedUpstream upstream("u", path);
  UpstreamAddress address;
  address.unix_path = path;
  connect(address);
  EXPECT_EQ(finish(completion(R"({"prompt":"p"})"))->body, R"({"mark":"u","prompt":"p"})");
}

TEST_F(UpstreamClientTest, SendsALargeBodyWhole) {
  ScriptedUpstream upstream("m");
  connect(upstream.port());
  const std::string prompt(8 << 20, 'x');
  const auto answer = finish(completion(R"({"prompt":")" + prompt + "\"}"));
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body.size(), prompt.size() + std::string(R"({"mark":"m","prompt":""})").size());
}

TEST_F(UpstreamClientTest, SaysWhyNobodyAnswers) {
  {
    ScriptedUpstream upstream("m");
    connect(upstream.port());
  }
  const auto nobody = finish(completion("{}"));
  ASSERT_TRUE(nobody->failure.has_value());
  EXPECT_EQ(nobody->failure->kind, UpstreamFailure::Kind::kConnect);
  UpstreamAddress unknown;
  unknown.host = "no-such-host.invalid";
  unknown.port = 1;
  loop_.run([&] { calls_.clear(); });
  connect(unknown);
  EXPECT_EQ(finish(completion("{}"))->failure->kind, UpstreamFailure::Kind::kConnect);
}

TEST_F(UpstreamClientTest, TellsResetsBeforeAndAmidAnAnswer) {
  ScriptedUpstream upstream("m");
  connect(upstream.port());
  upstream.set_mode(Mode::kDieMidway);
  const auto midway = finish(completion(R"({"stream":true})"));
  ASSERT_TRUE(midway->failure.has_value());
  EXPECT_EQ(midway->failure->kind, UpstreamFailure::Kind::kReset);
  EXPECT_GT(midway->body.size(), 0u);
  upstream.set_mode(Mode::kDieAtOnce);
  const auto at_once = finish(completion(R"({"stream":true})"));
  ASSERT_TRUE(at_once->failure.has_value());
  EXPECT_EQ(at_once->failure->kind, UpstreamFailure::Kind::kReset);
  EXPECT_EQ(at_once->body, "");
}

TEST_F(UpstreamClientTest, GivesUpWhenNothingComesOrNothingMore) {
  ScriptedUpstream upstream("m");
  connect(upstream.port());
  upstream.set_mode(Mode::kHang);
  UpstreamRequest request = completion("{}");
  request.first_byte_timeout_ms = 50;
  EXPECT_EQ(finish(request)->failure->kind, UpstreamFailure::Kind::kTimeout);
  upstream.set_mode(Mode::kStall);
  request = completion(R"({"stream":true})");
  request.stall_timeout_ms = 50;
  const auto stalled = finish(request);
  EXPECT_EQ(stalled->failure->kind, UpstreamFailure::Kind::kTimeout);
  EXPECT_GT(stalled->body.size(), 0u);
  request.stall_timeout_ms = 60'000;
  request.deadline_us = monotonic_us() + 50'000;
  EXPECT_EQ(finish(request)->failure->kind, UpstreamFailure::Kind::kDeadline);
  // The server sees all three clients go.
  EXPECT_TRUE(eventually([&] { return upstream.num_gone == 3; }));
}

TEST_F(UpstreamClientTest, CancellingIsSeenByTheServerAtOnce) {
  ScriptedUpstream upstream("m");
  upstream.set_mode(Mode::kHang);
  connect(upstream.port());
  const auto outcome = begin(completion("{}"));
  ASSERT_TRUE(eventually([&] { return upstream.num_running == 1; }));
  loop_.run([&] { calls_.clear(); });
  EXPECT_TRUE(eventually([&] { return upstream.num_gone == 1; }, 1000));
  EXPECT_FALSE(outcome->is_over);
  loop_.run([&] { EXPECT_EQ(client_->num_connections(), 0); });
}

TEST_F(UpstreamClientTest, ReadsNoFurtherWhilePaused) {
  ScriptedUpstream upstream("m");
  upstream.num_events = 200'000;
  connect(upstream.port());
  const auto outcome = begin(completion(R"({"stream":true})"));
  ASSERT_TRUE(eventually([&] { return outcome->num_bytes > 0; }));
  loop_.run([&] { calls_[0]->pause(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::size_t then = outcome->num_bytes;
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(outcome->num_bytes, then);
  EXPECT_FALSE(outcome->is_over);
  loop_.run([&] { calls_[0]->resume(); });
  EXPECT_TRUE(eventually([&] { return outcome->num_bytes > then; }));
}

TEST_F(UpstreamClientTest, TakesAFreshConnectionWhereAKeptOneIsDead) {
  std::uint16_t port = 0;
  {
    ScriptedUpstream upstream("m");
    port = upstream.port();
    connect(port);
    finish(completion("{}"));
  }
  // The kept connection is closed with its server, which the client sees while it is idle.
  EXPECT_TRUE(eventually([&] {
    int open = -1;
    loop_.run([&] { open = client_->num_connections(); });
    return open == 0;
  }));
}

TEST_F(UpstreamClientTest, RefusesWhatIsNoHttpAndTwoLengths) {
  for (const char* answer : {"SSH-2.0-hello\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: "
                             "chunked\r\n\r\n0\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    RawUpstream upstream(answer);
    connect(upstream.port());
    const auto outcome = finish(completion("{}"));
    ASSERT_TRUE(outcome->failure.has_value()) << answer;
    EXPECT_EQ(outcome->failure->kind, UpstreamFailure::Kind::kMalformed) << answer;
    loop_.run([&] {
      calls_.clear();
      client_.reset();
    });
  }
}

TEST_F(UpstreamClientTest, ReadsAnAnswerThatEndsWithItsConnection) {
  RawUpstream upstream(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close, "
      "x-private\r\n"
      "X-Private: 1\r\nX-Public: 2\r\nKeep-Alive: 5\r\n\r\nto the end");
  connect(upstream.port());
  const auto outcome = finish(completion("{}"));
  EXPECT_TRUE(outcome->has_ended);
  EXPECT_EQ(outcome->body, "to the end");
  EXPECT_EQ(outcome->headers, (HttpHeaders{{"x-public", "2"}}));
  loop_.run([&] {
    calls_.clear();
    client_.reset();
  });
}

TEST_F(UpstreamClientTest, AShortAnswerIsNoWholeOne) {
  RawUpstream upstream("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  connect(upstream.port());
  const auto outcome = finish(completion("{}"));
  ASSERT_TRUE(outcome->failure.has_value());
  EXPECT_EQ(outcome->failure->kind, UpstreamFailure::Kind::kReset);
  loop_.run([&] {
    calls_.clear();
    client_.reset();
  });
}

TEST(HttpFieldsTest, TakesOutWhatCouldEndALineEarly) {
  HttpHeaders headers = {{"a", "1"}, {"b", "2\r\nInjected: 3"}, {"c d", "4"}, {"", "5"}};
  remove_unsafe(headers);
  EXPECT_EQ(headers, (HttpHeaders{{"a", "1"}}));
  EXPECT_EQ(percent_encode("a b/\xc3\xa9&"), "a%20b%2F%C3%A9%26");
}

}  // namespace
}  // namespace tandem
