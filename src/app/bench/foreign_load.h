#pragma once

#include <cstdint>

namespace tandem {

// What others took of this process's cores while something was measured.
struct ForeignLoad {
  double busy_share = 0;   // of the cores' time, used by other processes
  double steal_share = 0;  // of the cores' time, taken by the hypervisor
  bool is_disturbing() const { return busy_share > 0.05 || steal_share > 0.02; }
};

// Measures it from its construction on, over the cores that this process may use: their busy time
// in /proc/stat less this process's own. Ticks of 10 ms: of no use below some tens of them.
class ForeignLoadWatch {
 public:
  ForeignLoadWatch();
  ForeignLoad so_far() const;

 private:
  struct Counters {
    double busy_s = 0;
    double steal_s = 0;
    double own_s = 0;
    std::int64_t now_ns = 0;
  };
  static Counters read();

  Counters began_;
};

}  // namespace tandem
