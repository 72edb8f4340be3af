// Hours of traffic in seconds: what requests leave behind shows as memory or descriptors that grow.
// TANDEM_SOAK_SECONDS makes it longer.

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "fleet/fleet_fixture_for_test.h"

namespace tandem {
namespace {

constexpr int kClients = 6;
// More than the connections that are kept for later may differ by.
constexpr std::ptrdiff_t kMoreDescriptors = 2 * kClients;
// Of memory, for what differs from one moment to the next; what requests leave comes on top.
constexpr std::int64_t kMoreBytes = 512 * 1024;

struct Usage {
  std::int64_t requests = 0;
  std::ptrdiff_t descriptors = 0;
  std::int64_t bytes = 0;  // allocated and not freed, in this whole process
};

class FleetSoakTest : public FleetFixture {
 protected:
  void stream_and_leave(const std::string& name) {
    TestClient client(port());
    const std::string body = fmt::format(
        R"({{"model":"{}","prompt":"p","stream":true,"events":50,"delay_ms":1}})", name);
    client.send(
        fmt::format("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: user-key\r\n"
                    "Content-Length: {}\r\n\r\n{}",
                    body.size(), body));
    EXPECT_NE(client.read_until("\"mark\"").find("200 OK"), std::string::npos);
  }

  // One of all that clients do, rightly and wrongly.
  void act(std::mt19937& random) {
    static constexpr const char* kModels[] = {"a", "b", "c"};
    const std::string name = kModels[random() % 3];
    ++num_requests_;
    switch (random() % 8) {
      case 0:
        return stream_and_leave(name);
      case 1:
        return static_cast<void>(ask("nobody"));
      case 2:
        return static_cast<void>(post("{\"model\":"));
      case 3:
        return static_cast<void>(post("{}", "/v1/completions", "wrong"));
      case 4:
        return static_cast<void>(get(random() % 2 == 0 ? "/metrics" : "/v1/models"));
      case 5: {
        // Prompts of many beginnings, which are remembered.
        const std::string prompt(600 + random() % 4000, static_cast<char>('a' + random() % 26));
        const TestResponse answer = ask(name, ",\"input\":\"" + prompt + "\"");
        EXPECT_EQ(answer.status, 200) << answer.body;
        return;
      }
      default:
        EXPECT_TRUE(ask(name, R"(,"stream":true,"events":6)").body.ends_with("[DONE]\n\n"));
    }
  }

  void run_for(std::chrono::milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.emplace_back([this, i, end] {
        std::mt19937 random(static_cast<unsigned>(i));
        while (std::chrono::steady_clock::now() < end) act(random);
      });
    }
    for (std::thread& client : clients) client.join();
  }

  Usage usage() {
    for (const char* name : {"a", "b", "c"}) {
      EXPECT_TRUE(eventually([&] {
        const auto now = status(name);
        return now["running"] == 0 && now["waiting"] == 0;
      }));
    }
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return {num_requests_, std::distance(begin(all), end(all)),
            static_cast<std::int64_t>(::mallinfo2().uordblks)};
  }

  std::atomic<std::int64_t> num_requests_ = 0;
};

TEST_F(FleetSoakTest, NothingGrows) {
  ScriptedUpstream upstream("c");
  start(model("a", "replicas = 2") + model("b") +
        fmt::format("[[upstream]]\nname = \"c\"\nurl = \"http://127.0.0.1:{}\"\nmodels = [\"c\"]\n"
                    "health_path = \"/health\"\n",
                    upstream.port()));
  ASSERT_TRUE(becomes("a", "ready") && becomes("b", "ready"));
  const char* text = std::getenv("TANDEM_SOAK_SECONDS");
  const std::chrono::milliseconds time(text != nullptr ? std::atoi(text) * 1000 : 6'000);
  run_for(time / 3);
  const Usage before = usage();
  run_for(time - time / 3);
  const Usage after = usage();
  const std::int64_t requests = after.requests - before.requests;
  fmt::print("{} requests: descriptors {} -> {}, memory {} -> {} KiB\n", requests,
             before.descriptors, after.descriptors, before.bytes / 1024, after.bytes / 1024);
  EXPECT_GT(requests, 100);
  EXPECT_LE(after.descriptors, before.descriptors + kMoreDescriptors);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_GT(after.bytes, 0);
  EXPECT_LE(after.bytes, before.bytes + kMoreBytes);
#endif
}

}  // namespace
}  // namespace tandem
