#pragma once

#include <cstdint>
#include <deque>
#include <string_view>

#include "fleet/policies.h"

namespace tandem {

// Whether a backend is worth a try, told by how requests fared there, and by nothing else: a health
// check that is green changes nothing here. Closed: all may go. Open: none, for open_ms. Then
// half-open: one tries for all. Times are milliseconds of a steady clock.
class CircuitBreaker {
 public:
  bool allows(const BreakerPolicy& policy, std::int64_t now_ms) const;
  // A request goes there. True: it is the one that tries, and must say how it fared.
  bool began(const BreakerPolicy& policy, std::int64_t now_ms);
  void succeeded(const BreakerPolicy& policy, std::int64_t now_ms);
  void failed(const BreakerPolicy& policy, std::int64_t now_ms);
  // The one that tried came to nothing, its client having gone: another may.
  void abandoned() { is_trying_ = false; }
  std::string_view state(std::int64_t now_ms) const;  // "closed", "open", "half-open"

 private:
  void note(const BreakerPolicy& policy, bool is_failure, std::int64_t now_ms);

  struct Outcome {
    std::int64_t at_ms;
    bool is_failure;
  };
  std::deque<Outcome> window_;
  std::int32_t failures_in_row_ = 0;
  std::int64_t open_until_ms_ = 0;  // 0: closed
  bool is_trying_ = false;
};

}  // namespace tandem
