// What a server writes, at once and later, as clients get it.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <thread>

#include "server/http/http_server.h"
#include "server/http/test_client_for_test.h"

namespace tandem {
namespace {

std::unique_ptr<HttpServer> serve(HttpHandler handler) {
  HttpServerOptions options;
  options.port = 0;
  return HttpServer::start(std::move(options), std::move(handler)).value();
}

// No two stretches of it are alike.
std::string long_text(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; text.size() < size; ++i) text += fmt::format("{} ", i);
  return text;
}

// More than the system's buffers take: the rest goes out as the client reads.
TEST(WriteQueue, ALongAnswerComesWholeHoweverLateItIsRead) {
  const std::string text = long_text(8 << 20);
  const auto server = serve([&](const auto& exchange) {
    exchange->respond({200, "text/plain", text, {}});
  });
  TestClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const TestResponse response = parse_response(client.read_all(30'000));
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body == text) << response.body.size();
}

TEST(WriteQueue, PiecesKeepTheirOrderWhenTheSocketIsFull) {
  const std::string text = long_text(3 << 20);
  const auto server = serve([&](const auto& exchange) {
    exchange->begin_stream({200, "text/plain", "", {}});
    for (std::size_t at = 0; at < text.size(); at += 1000) exchange->send(text.substr(at, 1000));
    exchange->end_stream();
  });
  TestClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(parse_response(client.read_all(30'000)).body == text);
}

// Each is answered from within the one before it; that must not use up the stack.
TEST(WriteQueue, ThousandsOfRequestsMayComeAtOnce) {
  const auto server = serve([](const auto& exchange) {
    exchange->respond({200, "text/plain", "ok", {}});
  });
  TestClient client(server->port());
  constexpr int kCount = 5000;
  std::string requests;
  for (int i = 0; i < kCount; ++i) requests += "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  std::thread sender([&] { client.send(requests); });
  int num_answers = 0;
  for (; num_answers < kCount; ++num_answers) {
    if (!client.read_until("\r\n\r\nok").ends_with("\r\n\r\nok")) break;
  }
  sender.join();
  EXPECT_EQ(num_answers, kCount);
}

}  // namespace
}  // namespace tandem
