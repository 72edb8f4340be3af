#include "fleet/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/cores.h"
#include "fleet/scripted_upstream_for_test.h"

namespace tandem {
namespace {

class WorkerProcessTest : public testing::Test {
 protected:
  // Runs a shell script as a worker and waits for its end.
  WorkerExit run(const std::string& script, std::map<std::string, std::string> environment = {}) {
    std::promise<WorkerExit> ended;
    std::unique_ptr<WorkerProcess> process;
    loop_.run([&] {
      WorkerEvents events;
      events.on_output = [this](std::string_view output) { output_ += output; };
      events.on_exit = [&](WorkerExit exit) { ended.set_value(exit); };
      auto started = WorkerProcess::start(
          loop_.loop, {{"/bin/sh", "-c", script}, std::move(environment), cores_},
          std::move(events));
      ASSERT_TRUE(started.ok()) << started.error().to_string();
      process = std::move(*started);
    });
    auto exit = ended.get_future();
    EXPECT_EQ(exit.wait_for(std::chrono::seconds(20)), std::future_status::ready);
    const WorkerExit result = exit.get();
    loop_.run([&] { process.reset(); });
    return result;
  }

  LoopThread loop_;
  std::string output_;
  std::vector<int> cores_;
};

TEST_F(WorkerProcessTest, TellsOutputAndExitCode) {
  const WorkerExit exit = run("echo out $MARK; echo err >&2; exit 7", {{"MARK", "a b"}});
  EXPECT_FALSE(exit.by_signal);
  EXPECT_EQ(exit.code, 7);
  EXPECT_EQ(output_, "out a b\nerr\n");
  EXPECT_EQ(run("kill -9 $$").to_string(), "signal 9 (Killed)");
}

TEST_F(WorkerProcessTest, InheritsNothingOfOurs) {
  // Blocked in all threads of the program, as `serve` does it.
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  loop_.run([&] { pthread_sigmask(SIG_BLOCK, &terminate, nullptr); });
  EXPECT_EQ(run("kill -TERM $$; echo still there").code, SIGTERM);
  const int ours = ::open("/dev/null", O_RDONLY);  // without close-on-exec
  run("ls /proc/self/fd");
  // Standard input, output, errors, and the folder itself.
  EXPECT_EQ(output_, "0\n1\n2\n3\n");
  ::close(ours);
}

TEST_F(WorkerProcessTest, RunsOnItsCoresAlone) {
  cores_ = {allowed_cores().back()};
  run("grep Cpus_allowed_list /proc/self/status");
  EXPECT_EQ(output_, fmt::format("Cpus_allowed_list:\t{}\n", cores_[0]));
}

TEST_F(WorkerProcessTest, AProgramThatIsNotThereIsAnError) {
  loop_.run([&] {
    const auto started = WorkerProcess::start(loop_.loop, {{"/no/such/program"}, {}, {}}, {});
    ASSERT_FALSE(started.ok());
    EXPECT_EQ(started.error().code, ErrorCode::kNotFound);
    EXPECT_NE(started.error().to_string().find("/no/such/program"), std::string::npos);
  });
}

TEST_F(WorkerProcessTest, DroppingItEndsItAndWhatItStarted) {
  std::unique_ptr<WorkerProcess> process;
  std::promise<pid_t> child;
  loop_.run([&] {
    WorkerEvents events;
    events.on_output = [&](std::string_view output) {
      child.set_value(static_cast<pid_t>(std::stol(std::string(output))));
    };
    auto started = WorkerProcess::start(
        loop_.loop, {{"/bin/sh", "-c", "sleep 60 & echo $!; wait"}, {}, {}}, std::move(events));
    ASSERT_TRUE(started.ok());
    process = std::move(*started);
  });
  const pid_t grandchild = child.get_future().get();
  const pid_t pid = process->pid();
  loop_.run([&] { process.reset(); });
  EXPECT_TRUE(eventually([&] { return ::kill(pid, 0) != 0; }));
  // A process whose parent is gone may stay as a zombie where nobody reaps.
  EXPECT_TRUE(eventually([&] {
    if (::kill(grandchild, 0) != 0) return true;
    std::ifstream stat(fmt::format("/proc/{}/stat", grandchild));
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    return text.find(") Z") != std::string::npos;
  }));
}

TEST_F(WorkerProcessTest, EndsWhenItsParentIsKilled) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t router = ::fork();
  if (router == 0) {
    LoopThread loop;
    std::unique_ptr<WorkerProcess> process;
    loop.run([&] {
      auto started = WorkerProcess::start(loop.loop, {{"/bin/sleep", "60"}, {}, {}}, {});
      if (started.ok()) process = std::move(*started);
    });
    const pid_t pid = process ? process->pid() : 0;
    (void)!::write(ends[1], &pid, sizeof pid);
    ::pause();
    ::_exit(0);
  }
  pid_t worker = 0;
  ASSERT_EQ(::read(ends[0], &worker, sizeof worker), ssize_t{sizeof worker});
  ASSERT_GT(worker, 0);
  EXPECT_EQ(::kill(worker, 0), 0);
  ::kill(router, SIGKILL);
  ::waitpid(router, nullptr, 0);
  EXPECT_TRUE(eventually([&] {
    if (::kill(worker, 0) != 0) return true;
    std::ifstream stat(fmt::format("/proc/{}/stat", worker));
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    return text.find(") Z") != std::string::npos;
  }));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(WorkerLogTest, KeepsTheLastLinesAndTellsListeners) {
  WorkerLog log;
  std::vector<std::string> heard;
  const auto id = log.subscribe([&](const std::string& line) { heard.push_back(line); });
  log.append("a", "half");
  log.append("b", "other\n");
  log.append("a", " a line\nand ");
  EXPECT_EQ(log.text(), "b: other\na: half a line\n");
  EXPECT_EQ(heard.size(), 2u);
  log.unsubscribe(id);
  for (int i = 0; i < 2000; ++i) log.append("a", std::string(1000, 'x') + "\n");
  EXPECT_LE(log.text().size(), WorkerLog::kMaxBytes);
  EXPECT_GT(log.text().size(), WorkerLog::kMaxBytes / 2);
  EXPECT_EQ(heard.size(), 2u);
  log.append("a", std::string(100'000, 'y'));
  log.append("a", "\n");
  EXPECT_LE(log.text().size(), WorkerLog::kMaxBytes);
}

// The process is a shell that does nothing; what answers is a scripted server, so that each can
// misbehave by itself.
class WorkerTest : public testing::Test {
 protected:
  void make(const std::string& script = "exec sleep 60") {
    settings_.name = "m/0";
    settings_.model_name = "m";
    settings_.supervision.restart_delay_ms = 20;
    settings_.supervision.restart_delay_max_ms = 100;
    settings_.supervision.failed_cooldown_ms = 400;
    settings_.supervision.health_interval_ms = 20;
    settings_.supervision.health_timeout_ms = 2000;
    settings_.next_start = [this, script]() -> Result<WorkerSettings::Start> {
      ++num_starts_;
      WorkerSettings::Start start;
      start.launch.command = {"/bin/sh", "-c", script};
      start.address.host = "127.0.0.1";
      start.address.port = upstream_.port();
      return start;
    };
    loop_.run([&] {
      worker_ = std::make_unique<Worker>(loop_.loop, settings_, log_,
                                         [this](WorkerState state, const std::string& reason) {
                                           state_ = state;
                                           const std::lock_guard lock(mutex_);
                                           reason_ = reason;
                                         });
    });
  }
  void TearDown() override {
    loop_.run([&] { worker_.reset(); });
  }
  bool becomes(WorkerState state) {
    return eventually([&] { return state_ == state; });
  }
  std::string reason() {
    const std::lock_guard lock(mutex_);
    return reason_;
  }

  ScriptedUpstream upstream_{"m"};
  LoopThread loop_;
  WorkerLog log_;
  WorkerSettings settings_;
  std::unique_ptr<Worker> worker_;
  std::atomic<WorkerState> state_ = WorkerState::kStopped;
  std::atomic<int> num_starts_ = 0;
  std::mutex mutex_;
  std::string reason_;  // guarded by mutex_
};

TEST_F(WorkerTest, IsReadyOnceItAnswersAndStopsWhenTold) {
  make();
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kReady));
  EXPECT_EQ(upstream_.num_requests, 1);  // one token was asked for
  loop_.run([&] { worker_->stop(); });
  EXPECT_TRUE(becomes(WorkerState::kStopped));
  EXPECT_EQ(num_starts_, 1);
}

TEST_F(WorkerTest, AGreenHealthCheckAloneIsNotReady) {
  upstream_.set_mode(ScriptedUpstream::Mode::kHang);
  settings_.load_timeout_ms = 300;
  make();
  loop_.run([&] { worker_->start(); });
  EXPECT_TRUE(becomes(WorkerState::kBackingOff));
  EXPECT_NE(reason().find("not ready within"), std::string::npos) << reason();
}

TEST_F(WorkerTest, IsStartedAgainWhenItIsKilled) {
  make();
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kReady));
  pid_t pid = 0;
  loop_.run([&] { pid = worker_->pid(); });
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(becomes(WorkerState::kBackingOff));
  EXPECT_EQ(reason(), "ended with signal 9 (Killed)");
  EXPECT_TRUE(becomes(WorkerState::kReady));
  EXPECT_EQ(num_starts_, 2);
}

TEST_F(WorkerTest, FailsAfterTooManyEndsAndIsTriedAgainLater) {
  settings_.supervision.max_restarts = 3;
  make("exit 3");
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kFailed));
  EXPECT_EQ(num_starts_, 4);
  EXPECT_EQ(reason(), "ended with exit code 3");
  EXPECT_TRUE(eventually([&] { return num_starts_ > 4; }));
}

TEST_F(WorkerTest, AnEndThatWouldRepeatItselfFailsAtOnce) {
  settings_.exit_codes.fatal = {2};
  make("echo loading; echo 'error: no such file' >&2; exit 2");
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kFailed));
  EXPECT_EQ(reason(), "ended with exit code 2: error: no such file");
  EXPECT_EQ(num_starts_, 1);
}

// What `serve` does when a GPU is lost to it: exit code 5, and its last line names the GPU. A new
// process may find it well, so that it is tried again with growing pauses, and not for ever.
TEST_F(WorkerTest, AWorkerWhoseGpuFailsIsTriedWithGrowingPausesAndThenFails) {
  settings_.exit_codes = {{2, 4}, 5};
  settings_.devices = {"cuda:0", "cuda:1"};
  settings_.supervision.max_restarts = 3;
  make("echo 'error: cuda:1: ECC error (in step 3, of 1 tokens)' >&2; exit 5");
  const auto began = std::chrono::steady_clock::now();
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kFailed));
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_EQ(num_starts_, 4);
  EXPECT_GE(took, std::chrono::milliseconds(20 + 40 + 80));
  EXPECT_EQ(reason(),
            "cuda:1 failed under it; it ended with exit code 5: error: cuda:1: ECC error (in step "
            "3, of 1 tokens)");
  loop_.run([&] {
    EXPECT_EQ(worker_->failed_device(), "cuda:1");
    EXPECT_EQ(worker_->num_device_failures(), 4);
  });
}

TEST_F(WorkerTest, AGpuThatIsWellAgainIsForgotten) {
  settings_.exit_codes.device_failed = 5;
  settings_.devices = {"cuda:0"};
  const std::string flag = fmt::format("/tmp/tandem-worker-test-{}", ::getpid());
  make(fmt::format("if [ -e {0} ]; then rm {0}; exec sleep 60; fi; touch {0}; exit 5", flag));
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kBackingOff));
  EXPECT_EQ(reason(), "a device failed under it; it ended with exit code 5");
  ASSERT_TRUE(becomes(WorkerState::kReady));
  loop_.run([&] {
    EXPECT_EQ(worker_->failed_device(), "");
    EXPECT_EQ(worker_->num_device_failures(), 1);
  });
}

TEST(WorkerEndTest, NamesTheDeviceThatFailed) {
  const WorkerExitCodes codes{{2, 4}, 5};
  const auto device_of = [&](const std::string& line, const std::vector<std::string>& devices) {
    return judge_end({false, 5}, "loading\n" + line + "\n", codes, devices).failed_device;
  };
  EXPECT_EQ(device_of("error: cuda:10: dead", {"cuda:1", "cuda:10"}), "cuda:10");
  EXPECT_EQ(device_of("error: cuda:0#1: dead", {"cuda:0", "cuda:0#0", "cuda:0#1"}), "cuda:0#1");
  EXPECT_EQ(device_of("error: cuda:2: dead, after cuda:0", {"cuda:0", "cuda:2"}), "cuda:2");
  EXPECT_EQ(device_of("Aborted", {"cuda:0"}), "a device");
}

TEST(WorkerEndTest, KnowsOnlyTheCodesItWasTold) {
  const WorkerEnd mine = judge_end({false, 4}, "", {{2, 4}, 5}, {"cuda:0"});
  EXPECT_TRUE(mine.is_fatal);
  EXPECT_EQ(mine.failed_device, "");
  const WorkerEnd other = judge_end({false, 5}, "cuda:0", {}, {"cuda:0"});
  EXPECT_EQ(other.reason, "ended with exit code 5: cuda:0");
  EXPECT_EQ(other.failed_device, "");
  EXPECT_EQ(judge_end({true, 5}, "", {{}, 5}, {"cuda:0"}).failed_device, "");
}

TEST_F(WorkerTest, AnIgnoredSigtermIsFollowedBySigkill) {
  settings_.supervision.kill_delay_ms = 100;
  make("trap '' TERM; while true; do sleep 0.05; done");
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kReady));
  loop_.run([&] { worker_->stop(); });
  EXPECT_TRUE(becomes(WorkerState::kStopped));
}

TEST_F(WorkerTest, AStartDuringAStopFollowsIt) {
  make();
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kReady));
  loop_.run([&] {
    worker_->stop();
    worker_->start();
  });
  EXPECT_TRUE(eventually([&] { return num_starts_ == 2; }));
  EXPECT_TRUE(becomes(WorkerState::kReady));
}

TEST_F(WorkerTest, ASuspectThatDoesNotAnswerIsReplaced) {
  settings_.supervision.hang_timeout_ms = 100;
  make();
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kReady));
  loop_.run([&] { worker_->suspect(); });  // answers: nothing happens
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_EQ(num_starts_, 1);
  upstream_.set_mode(ScriptedUpstream::Mode::kHang);
  loop_.run([&] { worker_->suspect(); });
  EXPECT_TRUE(eventually([&] { return state_ != WorkerState::kReady; }));
  upstream_.set_mode(ScriptedUpstream::Mode::kServe);
  EXPECT_TRUE(eventually([&] { return num_starts_ == 2; }));
}

TEST_F(WorkerTest, AGreenHealthCheckDoesNotHideAStuckScheduler) {
  settings_.supervision.hang_timeout_ms = 300;
  upstream_.steps = 5;
  make();
  loop_.run([&] { worker_->start(); });
  ASSERT_TRUE(becomes(WorkerState::kReady));
  // Nothing to do: that nothing moves is right.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(state_, WorkerState::kReady);
  // A long prompt: no byte of an answer, but steps.
  loop_.run([&] { worker_->begin_request(); });
  for (int i = 0; i < 30; ++i) {
    ++upstream_.steps;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(state_, WorkerState::kReady);
  // Now it is stuck, and /health still says ok.
  EXPECT_TRUE(eventually([&] { return state_ != WorkerState::kReady; }));
  EXPECT_TRUE(eventually([&] { return num_starts_ == 2; }));
}

TEST(ProgressCountersTest, TakesTheLinesThatMoveWhenAModelComputes) {
  EXPECT_EQ(progress_counters("# HELP x\nllamacpp:n_decode_total 12\ntandem:connections 3\n"
                              "vllm:generation_tokens_total{model=\"a\"} 4\n"),
            "llamacpp:n_decode_total "
            "12\nvllm:generation_tokens_total{model=\"a\"} 4\n");
  EXPECT_EQ(progress_counters("process_cpu_seconds 1\n"), "");
}

}  // namespace
}  // namespace tandem
