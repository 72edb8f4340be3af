#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace tandem {

// One line on standard error that grows with the work, only where that is a terminal; erased when
// the bar is destroyed. Redrawn at most ten times a second. Thread-safe.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(std::int64_t done_bytes, std::int64_t total_bytes);

 private:
  std::string label_;
  bool is_terminal_;
  std::atomic<std::int64_t> next_draw_us_{0};
  std::mutex mutex_;
  bool drawn_ = false;
};

}  // namespace tandem
