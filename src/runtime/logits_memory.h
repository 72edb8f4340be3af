#pragma once

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace tandem {

// Memory of logits that goes round: some megabytes a step, which new from the system would cost
// as many page faults as a small model's step takes microseconds. Thread-safe.
class LogitsMemory {
 public:
  // `size` numbers of any value.
  std::vector<float> take(std::size_t size) {
    std::vector<float> taken;
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        taken = std::move(free_.back());
        free_.pop_back();
      }
    }
    taken.resize(size);
    return taken;
  }

  void give_back(std::vector<float> memory) {
    const std::lock_guard lock(mutex_);
    const bool is_worth_it = memory.capacity() > 0 && memory.capacity() <= kLargestKept;
    if (is_worth_it && free_.size() < kMostKept) free_.push_back(std::move(memory));
  }

 private:
  // Steps in flight on the stages of a few devices; 32 rows of 128 Ki tokens. What perplexity
  // takes, hundreds of rows, goes back to the system.
  static constexpr std::size_t kMostKept = 8;
  static constexpr std::size_t kLargestKept = std::size_t{4} << 20;

  std::mutex mutex_;
  std::vector<std::vector<float>> free_;
};

}  // namespace tandem
