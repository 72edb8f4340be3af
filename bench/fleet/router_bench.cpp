// What the router of `tandem fleet` adds to events on their way, and how many it carries. A source
// of events and their readers run here, on one core; the fleet, with the source as its upstream, on
// another. Each figure is taken without the router first.
//
//   router_bench PROGRAM [SECONDS [ROWS]]    of each measurement, 5 without; the first so many
//   alone

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "event_source.h"
#include "stream_readers.h"

namespace tandem::bench {
namespace {

constexpr int kStreams = 100;

void run_on_core(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(static_cast<std::size_t>(core), &cores);
  if (::sched_setaffinity(0, sizeof cores, &cores) != 0) {
    fmt::print(stderr, "core {} may not be used: figures will be worse\n", core);
  }
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// `tandem fleet` on core 0, with one upstream.
class Fleet {
 public:
  Fleet(const std::string& program, std::uint16_t upstream_port)
      : folder_((std::filesystem::temp_directory_path() / "router-bench-XXXXXX").string()) {
    if (::mkdtemp(folder_.data()) == nullptr) std::exit(1);
    const std::string file = folder_ + "/fleet.toml";
    std::ofstream(file) << fmt::format(
        "[fleet]\nlisten = [\"127.0.0.1:0\"]\n[[upstream]]\nname = \"source\"\n"
        "url = \"http://127.0.0.1:{}\"\nmodels = [\"m\"]\nmax_concurrent = 1000\n",
        upstream_port);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      run_on_core(0);
      const int log = ::open((folder_ + "/log").c_str(), O_WRONLY | O_CREAT, 0600);
      ::dup2(log, STDERR_FILENO);
      ::execl(program.c_str(), program.c_str(), "fleet", file.c_str(), nullptr);
      ::_exit(127);
    }
    wait_for_port();
  }
  ~Fleet() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    std::filesystem::remove_all(folder_);
  }
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  std::uint16_t port() const { return port_; }
  // Of processor time that it has had, all threads together.
  double cpu_s() const {
    const std::string stat = read_file(fmt::format("/proc/{}/stat", pid_));
    std::int64_t user = 0;
    std::int64_t system = 0;
    // Fields 14 and 15; the second may hold spaces but ends in the last ')'.
    std::sscanf(stat.c_str() + stat.rfind(')') + 1,
                " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
    return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }

 private:
  void wait_for_port() {
    const std::string mark = "fleet on http://127.0.0.1:";
    for (int i = 0; i < 500; ++i) {
      const std::string said = read_file(folder_ + "/log");
      const std::size_t at = said.find(mark);
      if (at != std::string::npos && said.find('\n', at) != std::string::npos) {
        port_ = static_cast<std::uint16_t>(std::atoi(said.c_str() + at + mark.size()));
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    fmt::print(stderr, "the fleet does not start: {}\n", read_file(folder_ + "/log"));
    std::exit(1);
  }

  std::string folder_;
  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
};

void print_row(const std::string& name, const Readings& readings) {
  fmt::print("  {:<22}{:>9.0f}{:>9.0f}{:>9.0f}{:>9.0f}{:>11.0f}{:>7}\n", name,
             readings.quantile_us(0.5), readings.quantile_us(0.9), readings.quantile_us(0.99),
             readings.quantile_us(0.999), readings.events_per_s(), readings.num_wrong);
}

// Figures of a way that adds to another are their difference at each quantile.
void measure_latency(EventSource& source, const Fleet& fleet, const Pace& pace, double seconds) {
  source.set_pace(pace);
  fmt::print("{} streams, {:.0f} events/s in all, {}\n", kStreams, pace.events_per_s,
             pace.in_bursts ? "all streams at once" : "evenly spread");
  fmt::print("  {:<22}{:>9}{:>9}{:>9}{:>9}{:>11}{:>7}\n", "microseconds", "p50", "p90", "p99",
             "p99.9", "events/s", "wrong");
  const Readings direct = read_streams(source.port(), kStreams, seconds);
  print_row("direct", direct);
  const double cpu_s = fleet.cpu_s();
  const Readings routed = read_streams(fleet.port(), kStreams, seconds);
  const double used = fleet.cpu_s() - cpu_s;
  print_row("through the router", routed);
  fmt::print("  {:<22}{:>9.0f}{:>9.0f}{:>9.0f}{:>9.0f}\n", "added",
             routed.quantile_us(0.5) - direct.quantile_us(0.5),
             routed.quantile_us(0.9) - direct.quantile_us(0.9),
             routed.quantile_us(0.99) - direct.quantile_us(0.99),
             routed.quantile_us(0.999) - direct.quantile_us(0.999));
  fmt::print("  the router's core was busy for {:.0f} %; {} events were held back\n\n",
             100 * used / routed.seconds, source.take_num_held_back());
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) {
  using namespace tandem::bench;
  if (argc < 2) {
    fmt::print(stderr, "router_bench PROGRAM [SECONDS [ROWS]]\n");
    return 2;
  }
  const double seconds = argc > 2 ? std::atof(argv[2]) : 5;
  run_on_core(1);
  EventSource source;
  const Fleet fleet(argv[1], source.port());
  int rows = argc > 3 ? std::atoi(argv[3]) : 6;
  for (const Pace& pace : {Pace{3000, false}, Pace{3000, true}, Pace{20'000, false},
                           Pace{30'000, false}, Pace{40'000, false}, Pace{60'000, false}}) {
    if (rows-- > 0) measure_latency(source, fleet, pace, seconds);
  }
  return 0;
}
