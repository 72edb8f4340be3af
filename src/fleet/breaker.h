#pragma once

#include <cstdint>
#include <deque>
#include <string_view>

#include "fleet/policies.h"

namespace tandem {

// Whether a backend is worth a try, told by how requests fared there, and by nothing else: a health
// check that is green changes nothing here. Closed: all may go. Open: none, for open_ms. Then
// half-open: one tries for all. Where a request has no other backend to turn to, one may try
// earlier: 0.25 s after it opened, and after twice as long each time that fails. Requests that
// began before it last opened say nothing about how it is now, whenever they end. Times are
// milliseconds of a steady clock.
class CircuitBreaker {
 public:
  // When a request began: as many times as the breaker had opened or let one try.
  using Epoch = std::int64_t;

  bool allows(std::int64_t now_ms) const;
  // For who has no other backend.
  bool allows_early(std::int64_t now_ms) const;
  // Until one without another backend may try, or will know how the one that tries now has fared,
  // going by how long that has taken. 0 where it is closed.
  std::int64_t next_try_in_ms(std::int64_t now_ms) const;
  // A request goes there, and says later how it fared, with what this returns. Where the breaker is
  // half-open it is the one that tries.
  Epoch began(std::int64_t now_ms);
  void succeeded(Epoch epoch, const BreakerPolicy& policy, std::int64_t now_ms);
  void failed(Epoch epoch, const BreakerPolicy& policy, std::int64_t now_ms);
  // It came to nothing, its client having gone: if it was the one that tried, another may.
  void abandoned(Epoch epoch);
  std::string_view state(std::int64_t now_ms) const;  // "closed", "open", "half-open"

 private:
  void note(const BreakerPolicy& policy, bool is_failure, std::int64_t now_ms);

  struct Outcome {
    std::int64_t at_ms;
    bool is_failure;
  };
  std::deque<Outcome> window_;
  std::int32_t failures_in_row_ = 0;
  std::int64_t open_until_ms_ = 0;   // 0: closed
  std::int64_t early_after_ms_ = 0;  // it opened last, the next may try early
  std::int64_t early_at_ms_ = 0;     // which is then
  bool is_trying_ = false;
  std::int64_t trying_since_ms_ = 0;
  Epoch epoch_ = 0;
};

}  // namespace tandem
