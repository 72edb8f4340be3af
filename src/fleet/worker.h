#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet/policies.h"
#include "fleet/upstream_client.h"
#include "fleet/worker_end.h"
#include "fleet/worker_log.h"
#include "fleet/worker_process.h"

namespace tandem {

enum class WorkerState : std::uint8_t {
  kStopped,
  kStarting,  // the process is there or about to be, and does not answer yet
  kReady,
  kStopping,    // has been told to end
  kBackingOff,  // died or never became ready; waits for its next start
  kFailed,      // died too often; waits for a longer time
};
std::string_view name_of(WorkerState state);

struct WorkerSettings {
  std::string name;        // "qwen/0", in logs
  std::string model_name;  // for the request that proves it ready
  // Makes command and address of the next process; every process has an address of its own, so that
  // nothing meant for one can reach another.
  struct Start {
    WorkerLaunch launch;
    UpstreamAddress address;
  };
  std::function<Result<Start>()> next_start;
  std::string health_path = "/health";
  SupervisionPolicy supervision;
  std::int64_t load_timeout_ms = 600'000;
  WorkerExitCodes exit_codes;
  std::vector<std::string> devices;  // that it was given, to name the one that fails
};

// One process that serves a model, kept alive: started, proven ready by a real answer, watched, and
// started again with growing delays when it dies or hangs. A health check that stays green proves
// nothing while requests are at work: then bytes of answers or the worker's own counters must move.
// Lives on a loop; nothing blocks but the start of a process.
class Worker {
 public:
  using Listener = std::function<void(WorkerState state, const std::string& reason)>;

  // `log` must outlive the worker. `listener` is told of every change of state, on the loop; it
  // must not destroy the worker.
  Worker(EventLoop& loop, WorkerSettings settings, WorkerLog& log, Listener listener);
  // Kills the process.
  ~Worker();

  // From kStopped, kFailed or kBackingOff: starts now.
  void start();
  // Ends the process: SIGTERM, and SIGKILL after kill_delay_ms. kStopped follows. Whoever wants
  // requests to finish waits for them before.
  void stop();
  // Ends a process that serves no more, and starts another: what a hang leads to.
  void kill_and_restart(const std::string& reason);

  WorkerState state() const { return state_; }
  const std::string& reason() const { return reason_; }
  const WorkerSettings& settings() const { return settings_; }
  pid_t pid() const { return process_ ? process_->pid() : 0; }
  std::int32_t num_restarts() const { return num_restarts_; }
  std::int64_t load_us() const { return load_us_; }  // how long the last start took
  // The device whose failure ended the last process, until another is ready; and how often one did.
  const std::string& failed_device() const { return failed_device_; }
  std::int32_t num_device_failures() const { return num_device_failures_; }
  // Where requests go while kReady. A call in flight holds on to it: a new process has a new one.
  std::shared_ptr<UpstreamClient> client() const { return client_; }

  // Requests at work, for the watch against hangs.
  void begin_request();
  void end_request();
  // A byte of an answer came.
  void note_progress();
  // A request waited in vain: look whether this still answers at all.
  void suspect();
  // A request's connection broke: look whether the process is still there.
  void look_again();
  // Such a look is not over yet: a dying process is not always noticed before its clients notice.
  bool is_in_doubt() const { return doubt_ != Doubt::kNone; }

 private:
  // What a ready worker has yet to show.
  enum class Doubt : std::uint8_t {
    kNone,
    kIsThere,   // a green health check will do
    kComputes,  // only an answer will
  };

  void set_state(WorkerState state, std::string reason);
  void launch();
  void on_exit(WorkerExit exit);
  void went_down(const std::string& reason, bool is_fatal = false);
  void probe_start();
  void prove();
  void became_ready();
  void watch();
  void check_health();
  void check_progress();
  void judge_progress();
  UpstreamRequest probe(std::string method, std::string target, std::int64_t timeout_ms) const;
  // One request of our own; at most one is on its way.
  void ask(UpstreamRequest request, std::function<void(int status, std::string body)> then);

  EventLoop& loop_;
  WorkerSettings settings_;
  WorkerLog& log_;
  Listener listener_;
  WorkerState state_ = WorkerState::kStopped;
  std::string reason_;
  std::unique_ptr<WorkerProcess> process_;
  std::shared_ptr<UpstreamClient> client_;
  std::unique_ptr<UpstreamCall> probe_;
  EventLoop::Timer timer_;       // the next probe or start
  EventLoop::Timer kill_timer_;  // SIGKILL after SIGTERM
  std::int64_t started_us_ = 0;
  std::int64_t load_us_ = 0;
  std::int32_t failures_in_row_ = 0;
  std::int32_t num_restarts_ = 0;
  std::string failed_device_;
  std::int32_t num_device_failures_ = 0;
  std::deque<std::int64_t> down_us_;  // when it went down, within restart_window
  std::int32_t missed_checks_ = 0;
  Doubt doubt_ = Doubt::kNone;
  std::int32_t num_at_work_ = 0;
  std::int64_t progress_us_ = 0;  // when something last moved
  std::optional<std::string> counters_;
  bool knows_counters_ = false;  // it has counters that can be watched
  std::string last_words_;       // the end of what the process has said
  std::string kill_reason_;      // why the process was killed, until it has ended
  bool wants_start_ = false;     // once the process that is stopping has ended
};

// The lines of a metrics page that move when a model computes; empty where none is known.
std::string progress_counters(std::string_view metrics);

}  // namespace tandem
