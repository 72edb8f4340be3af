#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace simt {

// A call stack of its own that one host thread enters and leaves: what a GPU thread is in the
// emulation. resume() runs the body until it calls suspend() or returns. Fibers belong to the host
// thread that made them. AddressSanitizer is told of every switch. ThreadSanitizer is not: to it
// all fibers of a host thread are that thread, which runs them in an order (what GPU threads do to
// one another is RaceChecker's to find), only the call stacks in its reports are mixed up.
class Fiber {
 public:
  // body: called once, by the first resume(). Must not let an exception out.
  explicit Fiber(std::function<void()> body);
  // A fiber may be destroyed only before its first resume() or after its body returned.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();   // from outside the fiber
  void suspend();  // from inside: back to resume()'s caller
  bool done() const;

  // The memory that it runs on.
  const void* stack_begin() const;
  std::size_t stack_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace simt
