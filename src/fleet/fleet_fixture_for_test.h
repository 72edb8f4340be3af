#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <future>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "fleet/fleet_core.h"
#include "fleet/fleet_server.h"
#include "fleet/scripted_upstream_for_test.h"
#include "server/http/test_client_for_test.h"

namespace tandem {

// A whole fleet in this process, with scripted worker processes for models: each needs one unit of
// a memory that has room for as many as a test says.
class FleetFixture : public testing::Test {
 protected:
  FleetConfig config_of(const std::string& toml) const {
    std::string head = fmt::format(R"(
[supervision]
restart_delay_s = 0.05
max_restarts = 2
failed_cooldown_s = 60
health_interval_s = 0.1
health_timeout_s = 5
hang_timeout_s = 1
drain_timeout_s = 10
[[worker]]
name = "scripted"
command = ["{}", "{{port}}", "{{name}}"]
[[worker]]
name = "slow"
command = ["{}", "{{port}}", "{{name}}", "400"]
[[worker]]
name = "broken"
command = ["/bin/false", "{{port}}"]
)",
                                   TANDEM_SCRIPTED_WORKER, TANDEM_SCRIPTED_WORKER);
    if (with_keys_) {
      head += R"(
[[key]]
name = "user"
key = "user-key"
[[key]]
name = "boss"
key = "boss-key"
admin = true
)";
    }
    FleetConfigOutcome outcome = parse_fleet_config(head + toml, "fleet.toml", "");
    EXPECT_TRUE(outcome.errors.empty()) << outcome.errors.front().to_string();
    outcome.config.listen.addresses = {{"127.0.0.1", 0}};
    if (with_keys_) outcome.config.keys[0].models = {"a", "b", "c"};  // there or not
    return outcome.config;
  }
  static std::string model(const std::string& name, const std::string& more = {},
                           const std::string& worker = "scripted") {
    return fmt::format("[[model]]\nname = \"{}\"\nfile = \"{}.gguf\"\nworker = \"{}\"\n{}\n", name,
                       name, worker, more);
  }
  // Every replica needs one of `room`.
  static FleetLayout layout_of(const FleetConfig& config, std::int64_t room) {
    FleetLayout layout;
    layout.pool_bytes = {room};
    layout.devices = {{"cpu", "test", room, 0}};
    for (const ModelConfig& model : config.models) {
      PlacedModel placed;
      placed.replicas.resize(static_cast<std::size_t>(model.placement.replicas.value_or(1)));
      for (PlacedReplica& replica : placed.replicas) {
        replica.devices = {"cpu"};
        replica.shares = {{"cpu", 1}};
      }
      placed.needs = {static_cast<std::int64_t>(placed.replicas.size())};
      layout.models[model.name] = std::move(placed);
    }
    return layout;
  }

  void start(const std::string& toml, std::int64_t room = 100) {
    room_ = room;
    set_file(toml);
    FleetCoreOptions options;
    options.program = program_;
    options.read = [this]() -> Result<std::pair<FleetConfig, FleetLayout>> {
      const std::lock_guard lock(mutex_);
      if (toml_.empty()) return malformed("fleet.toml:1", "nothing to serve");
      FleetConfig config = config_of(toml_);
      FleetLayout layout = layout_of(config, room_);
      return std::pair(std::move(config), std::move(layout));
    };
    options.on_reloaded = [this] { server_->refresh(); };
    loop_.run([&] {
      auto read = *options.read();
      core_ = std::make_unique<FleetCore>(loop_.loop, std::move(read.first), std::move(read.second),
                                          *RuntimeFolder::create(), std::move(options));
      auto server = FleetServer::start(loop_.loop, *core_);
      ASSERT_TRUE(server.ok()) << server.error().to_string();
      server_ = std::move(*server);
      ASSERT_TRUE(core_->start().ok());
    });
  }
  void set_file(const std::string& toml) {
    const std::lock_guard lock(mutex_);
    toml_ = toml;
  }
  void TearDown() override {
    if (!core_) return;
    std::promise<void> ended;
    loop_.run([&] {
      server_->stop_accepting();
      core_->shut_down([&] { ended.set_value(); });
    });
    EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
    loop_.run([&] { server_.reset(); });
    loop_.run([&] { core_.reset(); });
  }

  std::uint16_t port() const { return server_->port(); }
  TestResponse post(const std::string& body, const std::string& path = "/v1/completions",
                    const std::string& key = "user-key") {
    return fetch(port(), "POST", path, body,
                 key.empty() ? std::string() : "Authorization: Bearer " + key + "\r\n");
  }
  TestResponse get(const std::string& path, const std::string& key = "boss-key") {
    return fetch(port(), "GET", path, {},
                 key.empty() ? std::string() : "Authorization: Bearer " + key + "\r\n");
  }
  TestResponse ask(const std::string& model, const std::string& more = {}) {
    return post(fmt::format(R"({{"model":"{}","prompt":"p"{}}})", model, more));
  }
  nlohmann::json status(const std::string& model) {
    nlohmann::json found;
    loop_.run([&] {
      const auto all = nlohmann::json::parse(status_json(core_->status()));
      for (const auto& entry : all["models"]) {
        if (entry["id"] == model) found = entry;
      }
    });
    return found;
  }
  std::string state(const std::string& model) { return status(model).value("status", "none"); }
  bool becomes(const std::string& model, const std::string& wanted) {
    return eventually([&] { return state(model) == wanted; }, 20'000);
  }
  pid_t pid(const std::string& model, std::size_t replica = 0) {
    const auto placement = status(model)["placement"];
    if (replica >= placement.size() || !placement[replica]["pid"].is_number()) return 0;
    return placement[replica]["pid"].get<pid_t>();
  }
  // A stream that stays open: 200 events, 20 ms apart.
  std::unique_ptr<TestClient> open_stream(const std::string& model, int events = 200) {
    auto client = std::make_unique<TestClient>(port());
    const std::string body = fmt::format(
        R"({{"model":"{}","prompt":"p","stream":true,"events":{},"delay_ms":20}})", model, events);
    client->send(
        fmt::format("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: "
                    "close\r\nX-Api-Key: user-key\r\nContent-Length: {}\r\n\r\n{}",
                    body.size(), body));
    const std::string mark = fmt::format("\"mark\":\"{}\"", model);
    EXPECT_TRUE(client->read_until(mark).ends_with(mark));
    return client;
  }

  bool with_keys_ = true;
  std::string program_ = "/bin/false";  // in tandem's place, for models without a [[worker]]
  LoopThread loop_;
  std::mutex mutex_;
  std::string toml_;  // guarded by mutex_
  std::int64_t room_ = 0;
  std::unique_ptr<FleetCore> core_;
  std::unique_ptr<FleetServer> server_;
};

}  // namespace tandem
