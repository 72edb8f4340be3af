#include "fleet/fleet_core.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include "fleet/fleet_fixture_for_test.h"

namespace tandem {
namespace {

class FleetCoreTest : public FleetFixture {};

TEST_F(FleetCoreTest, RoutesEachRequestToItsModel) {
  start(model("a", "aliases = [\"alpha\"]") + model("b"));
  for (const char* name : {"a", "b"}) {
    const TestResponse answer = ask(name);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(nlohmann::json::parse(answer.body)["mark"], name);
  }
  EXPECT_EQ(nlohmann::json::parse(ask("alpha").body)["mark"], "a");
  const TestResponse by_query = post(R"({"prompt":"p"})", "/v1/completions?model=b");
  EXPECT_EQ(nlohmann::json::parse(by_query.body)["mark"], "b");
  EXPECT_EQ(post(R"({"model":"a","prompt":"p"})", "/v1/completions?model=b").status, 400);
  EXPECT_EQ(post(R"({"prompt":"p"})").status, 400);
  EXPECT_EQ(post("{").status, 400);
}

TEST_F(FleetCoreTest, AModelMayHaveAPortOfItsOwn) {
  const std::uint16_t own = *free_port();
  start(model("a", fmt::format("listen = \"127.0.0.1:{}\"", own)) + model("b"));
  const TestResponse answer =
      fetch(own, "POST", "/v1/completions", R"({"model":"gpt-4"})", "X-Api-Key: user-key\r\n");
  EXPECT_EQ(nlohmann::json::parse(answer.body)["mark"], "a") << answer.body;
}

TEST_F(FleetCoreTest, ALargeBodyIsRoutedToo) {
  start(model("a"));
  const std::string prompt(1 << 20, 'x');
  const TestResponse answer = post(R"({"prompt":")" + prompt + R"(","model":"a"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(nlohmann::json::parse(answer.body)["prompt"], prompt);
}

TEST_F(FleetCoreTest, ARequestsTimeCoversItsWaiting) {
  start(model("a", "load = \"on-demand\"", "slow"));
  const TestResponse answer = fetch(port(), "POST", "/v1/completions", R"({"model":"a"})",
                                    "X-Api-Key: user-key\r\nX-Request-Timeout: 0.1\r\n");
  EXPECT_EQ(answer.status, 503) << answer.body;
  EXPECT_NE(answer.body.find("queue_timeout"), std::string::npos);
}

TEST_F(FleetCoreTest, AModelIsANameAndNeverAPath) {
  start(model("a") + model("hidden"));
  for (const char* name : {"../../etc/passwd", "/etc/passwd", "a.gguf", "", "hidden"}) {
    EXPECT_EQ(ask(name).status, 404) << name;
  }
  EXPECT_EQ(post(R"({"model":"/etc/passwd"})", "/models/load", "boss-key").status, 404);
}

TEST_F(FleetCoreTest, LoadAndUnloadAreForThoseWhoMay) {
  start(model("a", "load = \"on-demand\""));
  const std::string body = R"({"model":"a"})";
  EXPECT_EQ(post(body, "/models/load", "").status, 401);
  EXPECT_EQ(post(body, "/models/load", "wrong").status, 401);
  EXPECT_EQ(post(body, "/models/load", "user-key").status, 403);
  EXPECT_EQ(post(body, "/models/unload", "user-key").status, 403);
  EXPECT_EQ(get("/logs/stream?model=a", "user-key").status, 403);
  EXPECT_EQ(state("a"), "unloaded");
  EXPECT_EQ(post(body, "/models/load", "boss-key").status, 200);
  EXPECT_EQ(state("a"), "ready");
  EXPECT_EQ(post(body, "/models/unload", "boss-key").status, 200);
  EXPECT_EQ(state("a"), "unloaded");
}

TEST_F(FleetCoreTest, WithoutKeysNobodyMayLoadOrUnload) {
  with_keys_ = false;
  start(model("a", "load = \"on-demand\""));
  for (const char* path : {"/models/load", "/models/unload", "/fleet/reload"}) {
    EXPECT_EQ(post(R"({"model":"a"})", path, "").status, 403) << path;
  }
  EXPECT_EQ(get("/logs/stream?model=a", "").status, 403);
  EXPECT_EQ(state("a"), "unloaded");
  EXPECT_EQ(post(R"({"model":"a"})", "/v1/completions", "").status, 200);
}

TEST_F(FleetCoreTest, LoadsOnDemandOnceForAllWhoWait) {
  start(model("a", "load = \"on-demand\"", "slow"));
  std::vector<std::thread> clients;
  std::atomic<int> num_right = 0;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      if (ask("a").status == 200) ++num_right;
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(num_right, 8);
  loop_.run([&] { EXPECT_EQ(core_->status().models[0].counters.loads, 1); });
}

TEST_F(FleetCoreTest, AWaitingClientThatLeavesCausesNoLoad) {
  start(model("a") + model("b", "load = \"on-demand\"", "slow"), 1);
  ASSERT_TRUE(becomes("a", "ready"));
  const auto busy = open_stream("a");
  {
    TestClient client(port());
    client.send(
        "POST /v1/completions HTTP/1.1\r\nHost: "
        "localhost\r\nX-Api-Key: user-key\r\n"
        "Content-Length: 13\r\n\r\n{\"model\":\"b\"}");
    ASSERT_TRUE(eventually([&] { return status("b")["waiting"] == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return status("b")["waiting"] == 0; }, 1000));
  busy->read_all();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(state("a"), "ready");
  EXPECT_EQ(state("b"), "unloaded");
}

TEST_F(FleetCoreTest, EvictsAnIdleModelButNeverABusyOne) {
  start(model("a") + model("b", "load = \"on-demand\""), 1);
  ASSERT_TRUE(becomes("a", "ready"));
  auto stream = open_stream("a", 50);
  std::thread other([&] { EXPECT_EQ(ask("b").status, 200); });
  ASSERT_TRUE(eventually([&] { return status("b")["waiting"] == 1; }));
  EXPECT_EQ(state("a"), "ready");
  EXPECT_TRUE(stream->read_all().find("[DONE]") != std::string::npos);
  other.join();
  EXPECT_EQ(state("b"), "ready");
  EXPECT_TRUE(becomes("a", "unloaded"));
  // And back, many times: every request is answered by the model that it names.
  for (int i = 0; i < 6; ++i) {
    const std::string name = i % 2 == 0 ? "a" : "b";
    const TestResponse answer = ask(name);
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(nlohmann::json::parse(answer.body)["mark"], name);
  }
}

// Requests between "loaded" and their worker, and during unloads: by idleness and by hand, all the
// time.
TEST_F(FleetCoreTest, UnloadsWhileRequestsComeLoseNone) {
  start(model("a", "load = \"on-demand\"\nidle_unload_s = 0.02"));
  std::atomic<bool> is_over = false;
  std::thread hand([&] {
    while (!is_over) {
      const int status = post(R"({"model":"a"})", "/models/unload", "boss-key").status;
      EXPECT_TRUE(status == 200 || status == 409) << status;
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
  });
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] {
      for (int k = 0; k < 8; ++k) {
        const TestResponse answer = ask("a", ",\"delay_ms\":5");
        EXPECT_EQ(answer.status, 200) << answer.body;
        std::this_thread::sleep_for(std::chrono::milliseconds((i * 13 + k * 7) % 60));
      }
    });
  }
  for (std::thread& client : clients) client.join();
  is_over = true;
  hand.join();
  loop_.run([&] { EXPECT_GT(core_->status().models[0].counters.unloads, 1); });
}

TEST_F(FleetCoreTest, WhatRequestsWaitForIsUnloadedOnlyByForce) {
  start(model("a", "load = \"on-demand\"", "slow"));
  TestResponse waited;
  std::thread client([&] { waited = ask("a"); });
  ASSERT_TRUE(eventually([&] { return status("a")["waiting"] == 1; }));
  const TestResponse refused = post(R"({"model":"a"})", "/models/unload", "boss-key");
  EXPECT_EQ(refused.status, 409);
  EXPECT_NE(refused.body.find("1 request waits"), std::string::npos) << refused.body;
  EXPECT_EQ(state("a"), "loading");
  const std::string force = R"({"model":"a","force":true})";
  EXPECT_EQ(post(force, "/models/unload", "boss-key").status, 200);
  client.join();
  EXPECT_EQ(waited.status, 503);
  EXPECT_NE(waited.body.find("model_unloaded"), std::string::npos) << waited.body;
  EXPECT_EQ(state("a"), "unloaded");
}

TEST_F(FleetCoreTest, AnUnloadAnswersWhoIsLoading) {
  start(model("a", "load = \"on-demand\"", "slow"));
  const std::string body = R"({"model":"a"})";
  TestResponse loaded;
  std::thread hand([&] { loaded = post(body, "/models/load", "boss-key"); });
  ASSERT_TRUE(becomes("a", "loading"));
  EXPECT_EQ(post(body, "/models/unload", "boss-key").status, 200);
  hand.join();
  EXPECT_EQ(loaded.status, 503) << loaded.body;
  EXPECT_EQ(state("a"), "unloaded");
}

TEST_F(FleetCoreTest, WhatCanNeverFitIsRefusedAtOnce) {
  start(model("a", "pinned = true") + model("b", "load = \"on-demand\""), 1);
  ASSERT_TRUE(becomes("a", "ready"));
  const TestResponse answer = ask("b");
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.body.find("does_not_fit"), std::string::npos) << answer.body;
  EXPECT_EQ(state("a"), "ready");
}

TEST_F(FleetCoreTest, AKilledWorkerComesBackAndOthersNeverNotice) {
  start(model("a") + model("b"));
  ASSERT_TRUE(becomes("a", "ready") && becomes("b", "ready"));
  const auto other = open_stream("b", 100);
  const auto stream = open_stream("a");
  ::kill(pid("a"), SIGKILL);
  const std::string rest = stream->read_all();
  EXPECT_NE(rest.find("\"error\""), std::string::npos) << rest;
  const TestResponse meanwhile = ask("a");
  EXPECT_EQ(meanwhile.status, 200) << meanwhile.body;
  const std::string undisturbed = other->read_all();
  EXPECT_NE(undisturbed.find("\"index\":99"), std::string::npos);
  EXPECT_NE(undisturbed.find("[DONE]"), std::string::npos);
  EXPECT_EQ(undisturbed.find("\"error\""), std::string::npos);
}

// Its connections break half a second before its end is noticed: time enough for a request to fail
// there as often as it may, and, where many streams break, for the breaker to open.
TEST_F(FleetCoreTest, RequestsThatMeetADyingWorkerWaitForItsSuccessor) {
  start(model("a"));
  for (const int num_streams : {1, 6}) {
    ASSERT_TRUE(becomes("a", "ready"));
    std::vector<std::unique_ptr<TestClient>> streams;
    for (int i = 0; i < num_streams; ++i) streams.push_back(open_stream("a"));
    const pid_t first = pid("a");
    ::kill(first, SIGUSR2);
    for (const auto& stream : streams) {
      EXPECT_NE(stream->read_all().find("\"error\""), std::string::npos);
    }
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        const TestResponse answer = ask("a");
        EXPECT_EQ(answer.status, 200) << answer.body;
      });
    }
    for (std::thread& client : clients) client.join();
    EXPECT_NE(pid("a"), first);
  }
}

TEST_F(FleetCoreTest, AWorkerThatLivesOnIsNotWaitedFor) {
  start(model("a", "queue_timeout_s = 20"));
  ASSERT_TRUE(becomes("a", "ready"));
  const pid_t first = pid("a");
  const auto began = std::chrono::steady_clock::now();
  // It breaks this request off, and is as well as before.
  EXPECT_EQ(ask("a", ",\"die\":true").status, 503);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
  EXPECT_EQ(ask("a").status, 200);
  EXPECT_EQ(pid("a"), first);
}

TEST_F(FleetCoreTest, AHungWorkerIsReplacedThoughItsHealthStaysGreen) {
  start(model("a"));
  ASSERT_TRUE(becomes("a", "ready"));
  const pid_t first = pid("a");
  ::kill(first, SIGUSR1);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  // It is sent to the one that hangs, and tried again on its successor: nothing had come.
  const TestResponse answer = ask("a");
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_NE(pid("a"), first);
}

TEST_F(FleetCoreTest, ABrokenModelFailsWithItsReasonAndHarmsNobody) {
  start(model("a") + model("b", "load = \"on-demand\"", "broken"));
  const TestResponse answer = ask("b");
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.body.find("exit code 1"), std::string::npos) << answer.body;
  EXPECT_EQ(state("b"), "failed");
  EXPECT_EQ(ask("a").status, 200);
  // Until it is tried again, nobody waits for it.
  EXPECT_EQ(ask("b").status, 503);
}

TEST_F(FleetCoreTest, ReplicasShareTheLoadAndFillInForEachOther) {
  start(model("a", "replicas = 2"));
  ASSERT_TRUE(eventually([&] {
    const auto placement = status("a")["placement"];
    return placement.size() == 2 && placement[0]["state"] == "ready" &&
           placement[1]["state"] == "ready";
  }));
  const auto first = open_stream("a", 50);
  const auto second = open_stream("a", 50);
  const auto placement = status("a")["placement"];
  EXPECT_EQ(placement[0]["running"], 1);
  EXPECT_EQ(placement[1]["running"], 1);
  ::kill(pid("a", 0), SIGKILL);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask("a").status, 200);
}

TEST_F(FleetCoreTest, AReloadChangesOnlyWhatChanged) {
  start(model("a") + model("b") + model("c", "load = \"on-demand\""));
  ASSERT_TRUE(becomes("a", "ready") && becomes("b", "ready"));
  const pid_t a = pid("a");
  const pid_t b = pid("b");
  const auto stream = open_stream("b", 100);
  set_file(model("a", "aliases = [\"alpha\"]\nmax_queued = 3") + model("b", "args = [\"10\"]") +
           model("d"));
  EXPECT_EQ(post("{}", "/fleet/reload", "user-key").status, 403);
  EXPECT_EQ(post("{}", "/fleet/reload", "boss-key").status, 200);
  EXPECT_EQ(ask("alpha").status, 200);
  EXPECT_EQ(pid("a"), a);
  // The stream ends in peace before its worker is replaced.
  EXPECT_NE(stream->read_all().find("[DONE]"), std::string::npos);
  EXPECT_TRUE(eventually([&] { return pid("b") != b && state("b") == "ready"; }));
  EXPECT_EQ(ask("b").status, 200);
  EXPECT_TRUE(becomes("d", "ready"));
  EXPECT_EQ(ask("c").status, 404);

  // What cannot be read changes nothing.
  set_file({});
  EXPECT_EQ(post("{}", "/fleet/reload", "boss-key").status, 400);
  EXPECT_EQ(ask("alpha").status, 200);
}

TEST_F(FleetCoreTest, ShowsModelsMetricsHealthAndLogs) {
  start(model("a") + model("hidden", "load = \"on-demand\""));
  ASSERT_TRUE(becomes("a", "ready"));
  const auto models = nlohmann::json::parse(get("/v1/models", "user-key").body);
  ASSERT_EQ(models["data"].size(), 1u);
  EXPECT_EQ(models["data"][0]["id"], "a");
  EXPECT_EQ(models["data"][0]["status"], "ready");
  EXPECT_EQ(models["data"][0]["placement"][0]["devices"][0]["device"], "cpu");
  EXPECT_EQ(models["data"][0]["memory"].dump(), R"([{"bytes":1,"device":"cpu"}])");
  EXPECT_EQ(nlohmann::json::parse(get("/v1/models/a").body)["id"], "a");
  EXPECT_EQ(get("/v1/models/hidden", "user-key").status, 404);
  const TestResponse health = get("/health", "");
  EXPECT_EQ(health.status, 200);
  EXPECT_EQ(health.body, R"({"status":"ok","models":2,"ready":1})");
  ask("a");
  const std::string metrics = get("/metrics").body;
  EXPECT_NE(metrics.find("tandem:fleet_requests_total{model=\"a\",end=\"2xx\"} 1\n"),
            std::string::npos);
  EXPECT_NE(metrics.find("tandem:fleet_placed_bytes{model=\"a\",backend=\"a/"
                         "0\",device=\"cpu\"} 1"),
            std::string::npos);
  EXPECT_EQ(get("/metrics", "").status, 401);
  TestClient log(port());
  log.send(
      "GET /logs/stream?model=a HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: "
      "boss-key\r\n\r\n");
  EXPECT_NE(log.read_until("a/0: ready").find("a/0: ready"), std::string::npos);
  EXPECT_EQ(get("/slots?model=hidden").status,
            503);  // nobody is loaded for a look
  EXPECT_EQ(state("hidden"), "unloaded");
  EXPECT_EQ(get("/nothing").status, 404);
  EXPECT_EQ(get("/models/load").status, 405);
  EXPECT_NE(get("/", "").body.find("<html"), std::string::npos);
}

TEST_F(FleetCoreTest, HealthIsGreenOnceEveryModelOfTheStartIsReadyOrFailed) {
  start(model("a", "", "slow") + model("b", "", "broken") + model("c", "load = \"on-demand\""));
  const TestResponse early = get("/health", "");
  EXPECT_EQ(early.status, 503);
  EXPECT_EQ(early.body, R"({"status":"loading","models":3,"ready":0})");
  EXPECT_NE(early.head.find("Retry-After"), std::string::npos);
  EXPECT_TRUE(becomes("a", "ready") && becomes("b", "failed"));
  const TestResponse late = get("/health", "");
  EXPECT_EQ(late.status, 200);
  EXPECT_EQ(late.body, R"({"status":"ok","models":3,"ready":1})");
}

// A GPU that stays broken: those who ask are told that, and which, not that the model is bad.
TEST_F(FleetCoreTest, ADeadDeviceIsNamedAndTheModelNotBlamed) {
  program_ = fmt::format("/tmp/tandem-fleet-test-{}.sh", ::getpid());
  std::ofstream(program_) << "#!/bin/sh\necho 'error: cpu: ECC error (in step 7)' >&2\nexit 5\n";
  std::filesystem::permissions(program_, std::filesystem::perms::owner_all);
  start("[[model]]\nname = \"a\"\nfile = \"builtin\"\n");
  EXPECT_TRUE(eventually([&] {
    const auto placement = status("a")["placement"];
    return !placement.empty() && placement[0]["failed_device"] == "cpu";
  }));
  EXPECT_TRUE(becomes("a", "failed"));
  EXPECT_TRUE(status("a")["reason"].get<std::string>().starts_with("cpu failed under it"))
      << status("a")["reason"];
  const TestResponse answer = ask("a");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(nlohmann::json::parse(answer.body)["error"]["code"], "device_failed") << answer.body;
  std::filesystem::remove(program_);
}

TEST_F(FleetCoreTest, AnUpstreamMayBeReachedByTls) {
  const TestCertificate certificate("localhost");
  ScriptedUpstream upstream("b", {}, 0, &certificate);
  const auto entry = [&](const std::string& name, const std::string& host, bool is_known) {
    return fmt::format(
        "[[upstream]]\nname = \"{}\"\nurl = \"https://{}:{}\"\nmodels = [\"{}\"]\n"
        "health_path = \"/health\"\n{}",
        name, host, upstream.port(), name,
        is_known ? "ca_file = \"" + certificate.certificate_file() + "\"\n" : "");
  };
  start(entry("b", "localhost", true) + entry("other-name", "127.0.0.1", true) +
        entry("unknown", "localhost", false) + model("a"));
  const TestResponse answer = ask("b");
  EXPECT_EQ(nlohmann::json::parse(answer.body)["mark"], "b") << answer.body;
  EXPECT_TRUE(ask("b", R"(,"stream":true,"events":50)").body.ends_with("data: [DONE]\n\n"));
  const std::string prompt(1 << 20, 'x');
  const TestResponse large = post(R"({"model":"b","prompt":")" + prompt + R"("})");
  EXPECT_EQ(nlohmann::json::parse(large.body)["prompt"], prompt);
  // A client's going reaches the server here too.
  open_stream("b").reset();
  EXPECT_TRUE(eventually([&] { return upstream.num_gone == 1; }, 1000));
  // Whose certificate is for another name, or by nobody we know, gets no request.
  const int before = upstream.num_requests;
  for (const char* name : {"other-name", "unknown"}) {
    EXPECT_TRUE(becomes(name, "failed")) << name;
    EXPECT_NE(status(name)["reason"].get<std::string>().find("certificate"), std::string::npos)
        << status(name)["reason"];
    const std::string body = fmt::format(R"({{"model":"{}","prompt":"p"}})", name);
    EXPECT_EQ(post(body, "/v1/completions", "boss-key").status, 503);
  }
  EXPECT_EQ(upstream.num_requests, before);
}

TEST_F(FleetCoreTest, AnUpstreamIsAModelToo) {
  ScriptedUpstream upstream("elsewhere");
  start(fmt::format("[[upstream]]\nname = \"other\"\nurl = \"http://127.0.0.1:{}\"\n"
                    "health_path = \"/health\"\n[upstream.models]\nb = \"their-b\"\n",
                    upstream.port()) +
        model("a"));
  const TestResponse answer = ask("b");
  EXPECT_EQ(nlohmann::json::parse(answer.body)["mark"], "elsewhere") << answer.body;
  EXPECT_NE(upstream.last_request().find(R"("model":"their-b")"), std::string::npos);
  EXPECT_EQ(state("b"), "ready");
}

TEST_F(FleetCoreTest, ADeadUpstreamHoldsNobodyUp) {
  std::uint16_t dead = *free_port();
  ScriptedUpstream failing("failing");
  failing.set_mode(ScriptedUpstream::Mode::kDieAtOnce);
  start(fmt::format("[[upstream]]\nname = \"dead\"\nurl = \"http://127.0.0.1:{}\"\n"
                    "models = [\"b\"]\n[[upstream]]\nname = \"failing\"\n"
                    "url = \"http://127.0.0.1:{}\"\nhealth_path = \"/health\"\nmodels = [\"c\"]\n",
                    dead, failing.port()) +
        model("a"));
  ASSERT_TRUE(becomes("a", "ready"));
  EXPECT_TRUE(becomes("b", "failed"));
  EXPECT_EQ(ask("b").status, 503);
  // The other's health check is green; its breaker knows better, and answers at once.
  const auto breaker = [&] { return status("c")["placement"][0]["breaker"]; };
  EXPECT_TRUE(eventually([&] {
    const TestResponse answer = ask("c");
    EXPECT_GE(answer.status, 502);
    return answer.body.find("backend_failing") != std::string::npos;
  }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // health checks change nothing
  EXPECT_NE(breaker(), "closed");
  EXPECT_EQ(ask("a").status, 200);
  // It is the only one that has this model: once it is well, nobody waits open_s for it.
  failing.set_mode(ScriptedUpstream::Mode::kServe);
  EXPECT_TRUE(eventually([&] { return ask("c").status == 200; }, 8'000));
  EXPECT_EQ(breaker(), "closed");
}

TEST_F(FleetCoreTest, AShortFailureOfTheOnlyUpstreamIsWaitedOut) {
  ScriptedUpstream upstream("elsewhere");
  upstream.set_mode(ScriptedUpstream::Mode::kDieAtOnce);
  start(
      fmt::format("[[upstream]]\nname = \"other\"\nurl = \"http://127.0.0.1:{}\"\n"
                  "health_path = \"/health\"\nmodels = [\"c\"]\n",
                  upstream.port()));
  const auto breaker = [&] { return status("c")["placement"][0]["breaker"]; };
  ASSERT_TRUE(eventually([&] { return ask("c").status >= 502 && breaker() != "closed"; }));
  upstream.set_mode(ScriptedUpstream::Mode::kServe);
  const TestResponse answer = ask("c");
  EXPECT_EQ(answer.status, 200) << answer.body;
}

TEST_F(FleetCoreTest, NeitherAHangingUpstreamNorAFullQueueHoldsOtherModelsUp) {
  ScriptedUpstream hanging("hanging");
  hanging.set_mode(ScriptedUpstream::Mode::kHang);
  start(fmt::format("[[upstream]]\nname = \"hanging\"\nurl = \"http://127.0.0.1:{}\"\n"
                    "health_path = \"/health\"\nmodels = [\"c\"]\n",
                    hanging.port()) +
        model("a") + model("b", "max_concurrent = 1"));
  ASSERT_TRUE(becomes("a", "ready") && becomes("b", "ready"));
  const auto busy = open_stream("b", 200);
  std::vector<std::unique_ptr<TestClient>> waiting;
  for (int i = 0; i < 20; ++i) {
    const std::string body = fmt::format(R"({{"model":"{}"}})", i % 2 == 0 ? "b" : "c");
    waiting.push_back(std::make_unique<TestClient>(port()));
    waiting.back()->send(
        fmt::format("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: user-key\r\n"
                    "Content-Length: {}\r\n\r\n{}",
                    body.size(), body));
  }
  ASSERT_TRUE(eventually([&] { return status("b")["waiting"] == 10; }));
  ASSERT_TRUE(eventually([&] { return hanging.num_running == 10; }));
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask("a").status, 200);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(3));
  EXPECT_EQ(status("b")["waiting"], 10);
  EXPECT_EQ(hanging.num_running, 10);
}

TEST_F(FleetCoreTest, DrainingLetsStreamsEndAndRefusesOthers) {
  start(model("a"));
  ASSERT_TRUE(becomes("a", "ready"));
  const auto stream = open_stream("a", 50);
  TestClient other(port());
  std::promise<void> ended;
  loop_.run([&] { core_->shut_down([&] { ended.set_value(); }); });
  other.send(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: "
      "user-key\r\n"
      "Content-Length: 13\r\n\r\n{\"model\":\"a\"}");
  EXPECT_NE(other.read_until("draining").find("503"), std::string::npos);
  const TestResponse health = get("/health", "");
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(health.body, R"({"status":"draining","models":1,"ready":1})");
  EXPECT_NE(stream->read_all().find("[DONE]"), std::string::npos);
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_EQ(pid("a"), 0);
  loop_.run([&] { server_.reset(); });
  loop_.run([&] { core_.reset(); });
}

}  // namespace
}  // namespace tandem
