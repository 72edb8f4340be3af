#include "machine/watched_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace tandem {
namespace {

using Clock = std::chrono::steady_clock;

Error system_error(const char* call) {
  return Error{ErrorCode::kIo, std::string(call) + " failed", "child process", {}, strerror(errno)};
}

struct Pipes {
  std::array<int, 2> down{-1, -1};  // parent to child
  std::array<int, 2> up{-1, -1};    // child to parent

  void close_all() {
    for (int end : {down[0], down[1], up[0], up[1]})
      if (end >= 0) close(end);
  }
};

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(
                            std::chrono::duration<double>(std::max(seconds, 0.0)));
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(left, 0));
}

[[noreturn]] void exec_program(const std::vector<std::string>& arguments, int output) {
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(nothing, STDERR_FILENO);
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  execv(words[0], words.data());
  _exit(127);
}

}  // namespace

Result<WatchedChild> WatchedChild::run(const std::function<int(const Ends&)>& work) {
  Pipes pipes;
  if (pipe2(pipes.down.data(), O_CLOEXEC) != 0 || pipe2(pipes.up.data(), O_CLOEXEC) != 0) {
    pipes.close_all();
    return system_error("pipe");
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    pipes.close_all();
    return system_error("fork");
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(pipes.down[1]);
    close(pipes.up[0]);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    _exit(work({pipes.down[0], pipes.up[1]}));
  }
  close(pipes.down[0]);
  close(pipes.up[1]);
  return WatchedChild(pid, pipes.down[1], pipes.up[0]);
}

Result<WatchedChild> WatchedChild::execute(const std::vector<std::string>& arguments) {
  return run([&](const Ends& ends) -> int { exec_program(arguments, ends.to_parent); });
}

WatchedChild::WatchedChild(WatchedChild&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      input_(std::exchange(other.input_, -1)),
      output_(std::exchange(other.output_, -1)),
      buffer_(std::move(other.buffer_)) {}

WatchedChild::~WatchedChild() {
  if (input_ >= 0) close(input_);
  if (output_ >= 0) close(output_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    int status = 0;
    reap(1.0, status);
  }
}

bool WatchedChild::reap(double seconds, int& status) {
  const auto deadline = after(seconds);
  while (true) {
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == pid_ || (ended < 0 && errno != EINTR)) {
      pid_ = -1;
      return ended > 0;
    }
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Result<bool> WatchedChild::fill(double seconds) {
  const auto deadline = after(seconds);
  while (true) {
    pollfd wait{output_, POLLIN, 0};
    const int ready = poll(&wait, 1, milliseconds_until(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return system_error("poll");
    if (ready == 0)
      return Error{ErrorCode::kDeadline, "no answer in time", "child process", {}, {}};
    std::array<char, 16384> bytes{};
    const ssize_t size = ::read(output_, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return system_error("read");
    buffer_.append(bytes.data(), static_cast<std::size_t>(size));
    return size > 0;
  }
}

Result<std::optional<std::string>> WatchedChild::read_line(double seconds) {
  const auto deadline = after(seconds);
  while (true) {
    if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::optional<std::string> line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    TANDEM_TRY(const bool more, fill(milliseconds_until(deadline) / 1000.0));
    if (!more) return std::optional<std::string>();
  }
}

Result<std::string> WatchedChild::read_all(double seconds, std::size_t limit_bytes) {
  const auto deadline = after(seconds);
  while (buffer_.size() < limit_bytes) {
    TANDEM_TRY(const bool more, fill(milliseconds_until(deadline) / 1000.0));
    if (!more) break;
  }
  buffer_.resize(std::min(buffer_.size(), limit_bytes));
  return std::move(buffer_);
}

bool WatchedChild::write(std::string_view text) {
  // A child that is gone must not end the parent by SIGPIPE: writing to a closed pipe is an answer.
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  const ssize_t written = ::write(input_, text.data(), text.size());
  sigaction(SIGPIPE, &before, nullptr);
  return written == static_cast<ssize_t>(text.size());
}

std::string WatchedChild::end(double seconds) {
  int status = 0;
  if (pid_ > 0 && !reap(seconds, status)) {
    kill(pid_, SIGKILL);
    reap(1.0, status);
    return "killed: it did not end";
  }
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace tandem
