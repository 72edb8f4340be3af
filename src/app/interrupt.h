#pragma once

namespace tandem {

// Ctrl-C as a question to ask instead of the end of the process. While one of these lives, SIGINT
// only sets a flag; the former handling returns with its destructor. One at a time.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  // Has Ctrl-C been pressed since the last call?
  bool take();
};

}  // namespace tandem
