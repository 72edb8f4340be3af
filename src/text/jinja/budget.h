#pragma once

#include <cstdint>

#include "base/result.h"

namespace tandem::jinja {

// What one rendering may cost. Templates come from model files and values from requests, so every
// loop, copy and recursion is paid for here and ends in an Error instead of a hang or a crash.
struct Limits {
  std::int64_t max_steps = 10'000'000;  // evaluated nodes, visited elements, 256 bytes read
  std::int64_t max_allocated_bytes = 256 << 20;  // all strings and containers ever made, summed
  std::int64_t max_output_bytes = 32 << 20;
  int max_depth = 500;        // nested statements, expressions and macro calls
  int max_value_depth = 200;  // lists in lists, in values that come in or are built
};

// Counts down one rendering's Limits.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  const Limits& limits() const { return limits_; }
  Status spend_steps(std::int64_t count = 1);
  // Pays for reading `bytes` once.
  Status spend_reading(std::size_t bytes) {
    return spend_steps(1 + static_cast<std::int64_t>(bytes / 256));
  }
  // To be called before the allocation.
  Status allocate(std::size_t bytes);
  // allocate() for a product that may not even fit in 64 bits.
  Status allocate(std::size_t count, std::size_t bytes_each);
  Status check_value_depth(int depth) const;

 private:
  Limits limits_;
  std::int64_t steps_ = 0;
  std::int64_t allocated_bytes_ = 0;
};

// A failure while rendering: the template's or the request's fault, never the program's.
Error render_error(std::string what);

}  // namespace tandem::jinja
