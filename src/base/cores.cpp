#include "base/cores.h"

#include <sched.h>

#include <string>

namespace tandem {
namespace {

std::vector<int> read_allowed_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

}  // namespace

const std::vector<int>& allowed_cores() {
  // Read once: a thread that is pinned later must not make the process look smaller.
  static const std::vector<int> cores = read_allowed_cores();
  return cores;
}

Status pin_this_thread(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (core < 0 || core >= CPU_SETSIZE) {
    return invalid_argument("no such core", "0 to " + std::to_string(CPU_SETSIZE - 1),
                            std::to_string(core));
  }
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    return invalid_argument("this process may not run on core " + std::to_string(core));
  }
  return {};
}

}  // namespace tandem
