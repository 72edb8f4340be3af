#include "fleet/worker_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "server/http/event_loop_asio.h"

extern char** environ;

namespace tandem {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// Where the child reports that it could not become the program.
constexpr int kErrorDescriptor = 3;

struct Pipe {
  int read = -1;
  int write = -1;
  ~Pipe() {
    if (read >= 0) ::close(read);
    if (write >= 0) ::close(write);
  }
  bool open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
  void close_write() { ::close(std::exchange(write, -1)); }
};

std::vector<std::string> environment_with(const std::map<std::string, std::string>& more) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!more.contains(std::string(text.substr(0, text.find('='))))) result.emplace_back(text);
  }
  for (const auto& [name, value] : more) result.push_back(name + "=" + value);
  return result;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// In the child, between fork and exec: only what a signal handler may call as well.
[[noreturn]] void become(char* const* arguments, char* const* environment, const cpu_set_t* cores,
                         int output, int errors, pid_t parent) {
  const auto give_up = [&] {
    const int code = errno;
    (void)!::write(kErrorDescriptor, &code, sizeof code);
    ::_exit(127);
  };
  // Up, out of the way of the numbers that are wanted.
  output = ::fcntl(output, F_DUPFD_CLOEXEC, 10);
  errors = ::fcntl(errors, F_DUPFD_CLOEXEC, 10);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::dup2(errors, kErrorDescriptor);
  ::fcntl(kErrorDescriptor, F_SETFD, FD_CLOEXEC);
  ::syscall(SYS_close_range, kErrorDescriptor + 1, ~0U, 0);
  ::setpgid(0, 0);
  // The parent may be gone by now; nobody would tell.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) ::_exit(127);
  if (cores != nullptr) ::sched_setaffinity(0, sizeof *cores, cores);
  for (int number = 1; number < 32; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvpe(arguments[0], arguments, environment);
  give_up();
  ::_exit(127);
}

}  // namespace

std::string WorkerExit::to_string() const {
  if (!by_signal) return fmt::format("exit code {}", code);
  return fmt::format("signal {} ({})", code, ::strsignal(code));
}

class WorkerProcess::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop, WorkerEvents events)
      : events_(std::move(events)), output_(loop.impl().io), exit_(loop.impl().io) {}

  Status start(const WorkerLaunch& launch) {
    if (launch.command.empty()) return invalid_argument("a worker without a command");
    Pipe output;
    Pipe errors;
    if (!output.open() || !errors.open()) return failure("no pipe for a worker", errno);
    std::vector<std::string> texts = launch.command;
    std::vector<std::string> variables = environment_with(launch.environment);
    const std::vector<char*> arguments = pointers_to(texts);
    const std::vector<char*> environment = pointers_to(variables);
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (const int core : launch.cores) {
      if (core >= 0 && core < CPU_SETSIZE) CPU_SET(core, &cores);
    }
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) return failure("no process for a worker", errno);
    if (pid_ == 0) {
      become(arguments.data(), environment.data(), launch.cores.empty() ? nullptr : &cores,
             output.write, errors.write, parent);
    }
    ::setpgid(pid_, pid_);  // also here: a signal to the group may come first
    errors.close_write();
    int code = 0;
    ssize_t size = 0;
    while ((size = ::read(errors.read, &code, sizeof code)) < 0 && errno == EINTR) {
    }
    if (size > 0) return could_not_start(launch.command[0], code);
    const int exit = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    if (exit < 0) {
      const int reason = errno;
      ::kill(-pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      has_ended_ = true;
      return failure("no descriptor of a worker", reason);
    }
    exit_.assign(exit);
    output_.assign(std::exchange(output.read, -1));
    return {};
  }

  void watch() {
    read();
    exit_.async_wait(asio::posix::descriptor_base::wait_read,
                     [self = shared_from_this()](error_code error) {
                       if (!error) self->on_end();
                     });
  }

  void signal(int number) {
    if (!has_ended_ && pid_ > 0) ::kill(-pid_, number);
  }

  // No more events; whatever is left of the group is killed, and reaped once it has ended: what
  // holds much memory takes a while for that.
  void abandon() {
    events_ = {};
    signal(SIGKILL);
    error_code ignored;
    output_.close(ignored);
    if (has_ended_) exit_.close(ignored);
  }

  pid_t pid() const { return pid_; }

 private:
  static Error failure(const char* what, int code) {
    return {ErrorCode::kIo, what, {}, {}, std::strerror(code)};
  }

  Error could_not_start(const std::string& program, int code) {
    ::waitpid(pid_, nullptr, 0);
    has_ended_ = true;
    const bool is_missing = code == ENOENT || code == ENOTDIR;
    return {is_missing ? ErrorCode::kNotFound : ErrorCode::kIo, "the worker cannot be started",
            program, "a program", std::strerror(code)};
  }

  void read() {
    output_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](error_code error, std::size_t size) {
                              // The end of its output is not the end of the process; on_end() sees
                              // that.
                              if (error) return;
                              if (self->events_.on_output)
                                self->events_.on_output({self->buffer_.data(), size});
                              self->read();
                            });
  }

  // What it still said is in the pipe: read before the end is told.
  void drain_output() {
    error_code error;
    output_.non_blocking(true, error);
    while (!error) {
      const std::size_t size = output_.read_some(asio::buffer(buffer_), error);
      if (!error && size > 0 && events_.on_output) events_.on_output({buffer_.data(), size});
    }
  }

  void on_end() {
    int status = 0;
    if (has_ended_ || ::waitpid(pid_, &status, 0) != pid_) return;
    has_ended_ = true;
    ::kill(-pid_, SIGKILL);  // what it started itself
    const auto self = shared_from_this();
    drain_output();
    error_code ignored;
    output_.close(ignored);
    exit_.close(ignored);
    const auto on_exit = std::move(events_.on_exit);
    events_ = {};
    const bool by_signal = WIFSIGNALED(status);
    if (on_exit) on_exit({by_signal, by_signal ? WTERMSIG(status) : WEXITSTATUS(status)});
  }

  WorkerEvents events_;
  asio::posix::stream_descriptor output_;
  asio::posix::stream_descriptor exit_;
  std::array<char, 8192> buffer_{};
  pid_t pid_ = -1;
  bool has_ended_ = false;
};

Result<std::unique_ptr<WorkerProcess>> WorkerProcess::start(EventLoop& loop,
                                                            const WorkerLaunch& launch,
                                                            WorkerEvents events) {
  auto impl = std::make_shared<Impl>(loop, std::move(events));
  const Status status = impl->start(launch);
  if (!status.ok()) {
    impl->abandon();
    return status.error();
  }
  impl->watch();
  return std::unique_ptr<WorkerProcess>(new WorkerProcess(std::move(impl)));
}

WorkerProcess::WorkerProcess(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
WorkerProcess::~WorkerProcess() {
  impl_->abandon();
}
pid_t WorkerProcess::pid() const {
  return impl_->pid();
}
void WorkerProcess::signal(int number) {
  impl_->signal(number);
}

}  // namespace tandem
