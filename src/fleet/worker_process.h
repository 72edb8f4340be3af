#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/http/event_loop.h"

namespace tandem {

struct WorkerLaunch {
  std::vector<std::string> command;                // program and arguments; no shell reads them
  std::map<std::string, std::string> environment;  // beside our own
  std::vector<int> cores;                          // the only ones it may run on; empty: all
};

struct WorkerExit {
  bool by_signal = false;
  int code = 0;                   // the exit code, or the signal
  std::string to_string() const;  // "exit code 1", "signal 9 (Killed)"
};

struct WorkerEvents {
  std::function<void(std::string_view output)> on_output;  // of both of its outputs, as it comes
  std::function<void(WorkerExit exit)> on_exit;            // once; the object may go in it
};

// A child process in a process group of its own, with nothing of ours but what it is given: no
// descriptor, no blocked signal. It ends with the thread that started it, even if that is killed,
// which must therefore be the loop's.
class WorkerProcess {
 public:
  // Errors: kNotFound where there is no such program, kIo.
  static Result<std::unique_ptr<WorkerProcess>> start(EventLoop& loop, const WorkerLaunch& launch,
                                                      WorkerEvents events);
  // Kills what is left of the group; no event comes any more.
  ~WorkerProcess();

  pid_t pid() const;
  // To the whole group. Nothing happens once it has ended.
  void signal(int number);

 private:
  class Impl;
  explicit WorkerProcess(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace tandem
