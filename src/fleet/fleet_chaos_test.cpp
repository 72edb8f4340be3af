// Kills, hangs, slow backends and reloads under load: every request gets one whole answer of the
// model that it names, or an error that says so. TANDEM_CHAOS_REQUESTS makes it longer.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "fleet/fleet_fixture_for_test.h"

namespace tandem {
namespace {

constexpr int kClients = 12;

int num_requests() {
  const char* text = std::getenv("TANDEM_CHAOS_REQUESTS");
  return text != nullptr ? std::atoi(text) : 1000;
}

std::ptrdiff_t num_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

struct Tally {
  std::atomic<int> whole = 0;    // answered in full
  std::atomic<int> refused = 0;  // an error instead of an answer
  std::atomic<int> broken = 0;   // an error as the stream's last event
};

class FleetChaosTest : public FleetFixture {
 protected:
  // c and d have room for one of them; e is elsewhere.
  std::string file(int turn) const {
    return model("a", fmt::format("replicas = 2\nmax_queued = {}", 500 + turn % 7)) +
           model("b", turn % 2 == 0 ? "" : "args = [\"20\"]") + model("c", "load = \"on-demand\"") +
           model("d", "load = \"on-demand\"") +
           fmt::format(
               "[[upstream]]\nname = \"elsewhere\"\nurl = "
               "\"http://127.0.0.1:{}\"\n"
               "models = [\"e\"]\nhealth_path = \"/health\"\n",
               upstream_.port());
  }

  // One request, checked to its last byte.
  void request(std::mt19937& random, const std::string& id) {
    static constexpr const char* kModels[] = {"a", "b", "c", "d", "e"};
    const std::string name = kModels[random() % 5];
    const bool is_stream = random() % 2 == 0;
    const int events = 1 + static_cast<int>(random() % 12);
    const TestResponse answer =
        fetch(port(), "POST", "/v1/completions",
              fmt::format(R"({{"model":"{}","prompt":"{}","stream":{},"events":{},"delay_ms":{}}})",
                          name, id, is_stream, events, random() % 4),
              "X-Api-Key: boss-key\r\n");
    if (answer.status != 200) {
      ++tally_.refused;
      const bool is_known = answer.status == 429 || (answer.status >= 502 && answer.status <= 504);
      EXPECT_TRUE(is_known) << name << ' ' << answer.status << ' ' << answer.body;
      const auto json = nlohmann::json::parse(answer.body, nullptr, false);
      EXPECT_TRUE(json.contains("error"));
      if (json.contains("error")) note_refusal(name, answer.status, json["error"]["code"]);
    } else if (is_stream) {
      check_stream(answer.body, name, id, events);
    } else {
      const auto json = nlohmann::json::parse(answer.body, nullptr, false);
      EXPECT_TRUE(json.is_object() && json["mark"] == mark_of(name) && json["prompt"] == id)
          << answer.body;
      ++tally_.whole;
    }
  }

  void note_refusal(const std::string& name, int status, const nlohmann::json& code) {
    const std::lock_guard lock(refusals_mutex_);
    ++refusals_[fmt::format("{}: {} {}", name, status, code.dump())];
  }

  static std::string mark_of(const std::string& name) { return name == "e" ? "elsewhere" : name; }

  void check_stream(const std::string& body, const std::string& name, const std::string& id,
                    int events) {
    int next = 0;
    bool has_ended = false;
    for (std::size_t at = 0; at < body.size();) {
      const std::size_t end = body.find("\n\n", at);
      ASSERT_NE(end, std::string::npos) << "half an event: " << body;
      const std::string event = body.substr(at + 6, end - at - 6);
      at = end + 2;
      ASSERT_FALSE(has_ended) << "something behind the end: " << body;
      if (event == "[DONE]") {
        EXPECT_EQ(next, events);
        has_ended = true;
        ++tally_.whole;
        continue;
      }
      const auto json = nlohmann::json::parse(event, nullptr, false);
      ASSERT_TRUE(json.is_object()) << event;
      if (json.contains("error")) {
        has_ended = true;
        ++tally_.broken;
        continue;
      }
      ASSERT_TRUE(json["mark"] == mark_of(name) && json["prompt"] == id && json["index"] == next)
          << event << " as number " << next << " for " << name << ' ' << id;
      ++next;
    }
    EXPECT_TRUE(has_ended) << "lost: " << name << ' ' << id << ' ' << body;
  }

  void misbehave(std::mt19937& random, int turn) {
    static constexpr const char* kModels[] = {"a", "b", "c", "d"};
    const pid_t victim = pid(kModels[random() % 4], random() % 2);
    switch (random() % 5) {
      case 0:
      case 1:
        if (victim > 0) ::kill(victim, SIGKILL);
        break;
      case 2:
        // Hangs, with a green health check, or dies slowly.
        if (victim > 0) ::kill(victim, turn % 2 == 0 ? SIGUSR1 : SIGUSR2);
        break;
      case 3:
        upstream_.event_delay_ms = static_cast<int>(random() % 20);
        upstream_.set_mode(random() % 3 == 0 ? ScriptedUpstream::Mode::kDieMidway
                                             : ScriptedUpstream::Mode::kServe);
        break;
      default:
        set_file(file(turn));
        loop_.run([this] { core_->reload([](const Status&) {}); });
    }
  }

  ScriptedUpstream upstream_{"elsewhere"};
  Tally tally_;
  std::mutex refusals_mutex_;
  std::map<std::string, int> refusals_;  // by model and code; guarded by refusals_mutex_
};

TEST_F(FleetChaosTest, NoRequestIsLostDoubledOrMisrouted) {
  start(file(0), 4);
  ASSERT_TRUE(becomes("a", "ready") && becomes("b", "ready"));
  const std::ptrdiff_t descriptors = num_descriptors();
  std::atomic<int> left = num_requests();
  std::atomic<bool> is_over = false;
  std::thread monkey([&] {
    std::mt19937 random(7);
    for (int turn = 1; !is_over; ++turn) {
      misbehave(random, turn);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  });
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      std::mt19937 random(static_cast<unsigned>(i));
      for (int index = left--; index > 0; index = left--) request(random, std::to_string(index));
    });
  }
  for (std::thread& client : clients) client.join();
  is_over = true;
  monkey.join();
  upstream_.set_mode(ScriptedUpstream::Mode::kServe);

  RecordProperty("whole", tally_.whole);
  RecordProperty("refused", tally_.refused);
  RecordProperty("broken", tally_.broken);
  fmt::print("{} whole, {} refused, {} broken off with an error\n", tally_.whole.load(),
             tally_.refused.load(), tally_.broken.load());
  for (const auto& [what, count] : refusals_) fmt::print("refused, {}: {}\n", what, count);
  EXPECT_EQ(tally_.whole + tally_.refused + tally_.broken, num_requests());
  EXPECT_GT(tally_.whole, num_requests() / 2);
  // Everything is as it was: nobody waits, nothing is left open, the models are there again.
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    EXPECT_TRUE(eventually([&] {
      const auto now = status(name);
      return now["running"] == 0 && now["waiting"] == 0;
    })) << name;
  }
  EXPECT_TRUE(eventually([&] { return ask("a").status == 200 && ask("b").status == 200; }, 90'000));
  EXPECT_TRUE(eventually([&] { return num_descriptors() <= descriptors + 40; }, 20'000))
      << num_descriptors() << " descriptors, " << descriptors << " at the start";
}

}  // namespace
}  // namespace tandem
