#include "app/bench/foreign_load.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "base/clock.h"
#include "base/cores.h"

namespace tandem {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// "cpu3" -> 3; -1 for the sum over all and for other lines.
int core_of(const std::string& name) {
  if (name.size() < 4 || name.compare(0, 3, "cpu") != 0) return -1;
  const bool digits = name.find_first_not_of("0123456789", 3) == std::string::npos;
  return digits && name.size() < 9 ? std::stoi(name.substr(3)) : -1;
}

}  // namespace

ForeignLoadWatch::ForeignLoadWatch() : began_(read()) {}

ForeignLoadWatch::Counters ForeignLoadWatch::read() {
  Counters counters;
  const double ticks_per_s = static_cast<double>(sysconf(_SC_CLK_TCK));
  std::ifstream stat("/proc/stat");
  for (std::string line; std::getline(stat, line);) {
    std::istringstream fields(line);
    std::string name;
    double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0;
    fields >> name >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal;
    const int core = core_of(name);
    if (!std::binary_search(allowed_cores().begin(), allowed_cores().end(), core)) continue;
    counters.busy_s += (user + nice + system + irq + soft) / ticks_per_s;
    counters.steal_s += steal / ticks_per_s;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  counters.own_s = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
  counters.now_ns = monotonic_ns();
  return counters;
}

ForeignLoad ForeignLoadWatch::so_far() const {
  const Counters now = read();
  const double available = 1e-9 * static_cast<double>(now.now_ns - began_.now_ns) *
                           static_cast<double>(allowed_cores().size());
  if (available <= 0) return {};
  const double foreign = (now.busy_s - began_.busy_s) - (now.own_s - began_.own_s);
  ForeignLoad load;
  load.busy_share = std::max(0.0, foreign / available);
  load.steal_share = std::max(0.0, (now.steal_s - began_.steal_s) / available);
  return load;
}

}  // namespace tandem
