#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tandem {

// How a prompt's hidden states become one vector: nothing is wanted, the mean of all, that of the
// first token, or that of the last (which alone has seen the whole prompt).
enum class Pooling : std::uint8_t { kNone, kMean, kFirst, kLast };

// Gathers the hidden states of a prompt as its chunks are computed.
class HiddenPool {
 public:
  // Tokens were computed up to a place before those already taken: pre-emption threw them away.
  void start_over();
  // One more state. [hidden_size], the same size each time.
  void add(std::span<const float> state);
  // The mean of what was added. Empty if nothing was.
  std::vector<float> take();

 private:
  std::vector<double> sum_;
  std::int64_t count_ = 0;
};

}  // namespace tandem
