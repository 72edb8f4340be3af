#include "fleet/fleet.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

#include "fleet/fleet_server.h"

namespace tandem {
namespace {

sigset_t fleet_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&signals, number);
  return signals;
}

// Where the fleet of a configuration file says who it is.
std::string identity_path(const std::string& config_path) {
  std::error_code error;
  const std::string canonical = std::filesystem::weakly_canonical(config_path, error).string();
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bits
  for (const char c : error ? config_path : canonical) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  const char* folder = std::getenv("XDG_RUNTIME_DIR");
  return fmt::format("{}/tandem-fleet-{}-{:016x}.pid",
                     folder != nullptr && *folder != '\0' ? folder : "/tmp", ::getuid(), hash);
}

// A file of this user's own, or -1: in /tmp somebody else may have put something there.
int open_identity(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat facts {};
  if (file >= 0 && (::fstat(file, &facts) != 0 || facts.st_uid != ::getuid())) {
    ::close(file);
    return -1;
  }
  return file;
}

// The lock on it lasts as long as this process does, whatever ends it.
class Identity {
 public:
  explicit Identity(const std::string& config_path) : path_(identity_path(config_path)) {
    file_ = open_identity(path_, O_RDWR | O_CREAT);
    if (file_ < 0 || ::flock(file_, LOCK_EX | LOCK_NB) != 0) {
      spdlog::warn("`tandem fleet reload` will not find this fleet: {} is in use", path_);
      if (file_ >= 0) ::close(std::exchange(file_, -1));
      return;
    }
    const std::string text = fmt::format("{}\n", ::getpid());
    const bool is_written = ::ftruncate(file_, 0) == 0 &&
                            ::write(file_, text.data(), text.size()) == ssize_t(text.size());
    if (!is_written) spdlog::warn("{} cannot be written: {}", path_, std::strerror(errno));
  }
  ~Identity() {
    if (file_ < 0) return;
    ::unlink(path_.c_str());
    ::close(file_);
  }
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;

 private:
  std::string path_;
  int file_ = -1;
};

// Everything that lives on the loop, from the first to the last.
class RunningFleet {
 public:
  RunningFleet(FleetConfig config, FleetLayout layout, std::unique_ptr<RuntimeFolder> folder,
               FleetCoreOptions options)
      : core_(loop_, std::move(config), std::move(layout), std::move(folder),
              with_refresh(std::move(options))) {}

  // Runs the loop on a thread of its own. It must be one that lives as long as the workers.
  Status start() {
    thread_ = std::thread([this] { loop_.run(); });
    return on_loop([this]() -> Status {
      TANDEM_TRY(server_, FleetServer::start(loop_, core_));
      return core_.start();
    });
  }
  std::uint16_t port() const { return server_->port(); }
  void reload() {
    loop_.post([this] { core_.reload([](const Status&) {}); });
  }
  // SIGUSR1 follows when everything has ended.
  void shut_down() {
    loop_.post([this] {
      server_->stop_accepting();
      core_.shut_down([] { ::kill(::getpid(), SIGUSR1); });
    });
  }
  ~RunningFleet() {
    if (!thread_.joinable()) return;
    // Connections first, and what they hold of the core; then the loop.
    std::promise<void> closed;
    loop_.post([&] {
      server_.reset();
      closed.set_value();
    });
    closed.get_future().wait();
    loop_.post([this] { loop_.stop(); });
    thread_.join();
  }

 private:
  FleetCoreOptions with_refresh(FleetCoreOptions options) {
    options.on_reloaded = [this] {
      if (server_) server_->refresh();
    };
    return options;
  }
  Status on_loop(const std::function<Status()>& task) {
    std::promise<Status> done;
    loop_.post([&] { done.set_value(task()); });
    return done.get_future().get();
  }

  EventLoop loop_;
  FleetCore core_;
  std::unique_ptr<FleetServer> server_;
  std::thread thread_;
};

int wait_for_signal(const sigset_t& signals) {
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
  return number;
}

void run_until_signalled(RunningFleet& fleet, const sigset_t& signals) {
  bool is_ending = false;
  while (true) {
    const int number = wait_for_signal(signals);
    if (number == SIGHUP && !is_ending) fleet.reload();
    if (number == SIGUSR1 && is_ending) return;
    if (number != SIGINT && number != SIGTERM) continue;
    if (is_ending) return;  // a second time: at once
    is_ending = true;
    spdlog::info("shutting down");
    fleet.shut_down();
  }
}

}  // namespace

Status run_fleet(const FleetRunOptions& options, ReadFleet read) {
  // Before any thread is there: they all inherit it, and signals come to sigwait alone.
  const sigset_t signals = fleet_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  TANDEM_TRY(auto fleet_read, read());
  TANDEM_TRY(auto folder, RuntimeFolder::create());
  FleetCoreOptions core;
  core.program = options.program;
  if (core.program.empty()) core.program = std::filesystem::read_symlink("/proc/self/exe").string();
  core.read = std::move(read);
  RunningFleet fleet(std::move(fleet_read.first), std::move(fleet_read.second), std::move(folder),
                     std::move(core));
  TANDEM_TRY_STATUS(fleet.start());
  const Identity identity(options.config_path);
  if (options.on_listening) options.on_listening(fleet.port());
  run_until_signalled(fleet, signals);
  return {};
}

Status signal_reload(const std::string& config_path) {
  const int file = open_identity(identity_path(config_path), O_RDONLY);
  const Error nobody = not_found("no fleet runs from this file", config_path);
  if (file < 0) return nobody;
  // Whoever can lock it is alone: the fleet that wrote it is gone.
  const bool is_stale = ::flock(file, LOCK_EX | LOCK_NB) == 0;
  char text[32] = {};
  const bool is_read = ::read(file, text, sizeof text - 1) > 0;
  ::close(file);
  const long pid = std::strtol(text, nullptr, 10);
  if (is_stale || !is_read || pid <= 1) return nobody;
  if (::kill(static_cast<pid_t>(pid), SIGHUP) != 0) {
    return Error{
        ErrorCode::kIo, "the fleet cannot be signalled", config_path, {}, std::strerror(errno)};
  }
  return {};
}

}  // namespace tandem
