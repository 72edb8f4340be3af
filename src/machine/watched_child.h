#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tandem {

// A child process that is read with a deadline and killed when it falls silent: a driver or a tool
// that hangs must not make the caller hang. What crashes in the child costs only its answers.
class WatchedChild {
 public:
  // The child's ends of its two pipes.
  struct Ends {
    int from_parent = -1;
    int to_parent = -1;
  };

  // Forks. The child runs `work` and ends with what it returns, without running exit handlers; its
  // standard output is joined to standard error. It dies with the parent. To be called while the
  // process has no other thread that may hold a lock which `work` needs.
  static Result<WatchedChild> run(const std::function<int(const Ends&)>& work);

  // Runs the program `arguments[0]` (a path) with no input; its standard output goes to the parent,
  // its standard error nowhere.
  static Result<WatchedChild> execute(const std::vector<std::string>& arguments);

  WatchedChild(WatchedChild&& other) noexcept;
  WatchedChild& operator=(WatchedChild&&) = delete;
  WatchedChild(const WatchedChild&) = delete;
  WatchedChild& operator=(const WatchedChild&) = delete;
  ~WatchedChild();  // kills; waits a moment, as a process within a broken driver may never end

  // The next line without its end, or nullopt where the child has closed its pipe. Blocks up to
  // `seconds`; error kDeadline when they pass without a line.
  Result<std::optional<std::string>> read_line(double seconds);

  // Everything up to the end, at most `limit_bytes` of it. Error kDeadline after `seconds`.
  Result<std::string> read_all(double seconds, std::size_t limit_bytes);

  // False where the child no longer reads.
  bool write(std::string_view text);

  // How the child ended: "exit code 3", "signal 11"; waits up to `seconds`, then kills.
  std::string end(double seconds);

 private:
  WatchedChild(pid_t pid, int input, int output) : pid_(pid), input_(input), output_(output) {}

  // Appends what is there to `buffer_`; false at the end of the pipe.
  Result<bool> fill(double seconds);
  bool reap(double seconds, int& status);

  pid_t pid_ = -1;
  int input_ = -1;   // to the child
  int output_ = -1;  // from the child
  std::string buffer_;
};

}  // namespace tandem
