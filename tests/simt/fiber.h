#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace simt {

// A call stack of its own that one host thread enters and leaves: what a GPU thread is in the
// emulation. resume() runs the body until it calls suspend() or returns. Fibers belong to the host
// thread that made them. AddressSanitizer and ThreadSanitizer are told of every switch.
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

  // What is needed to name the thread that runs to ThreadSanitizer; nullptr without it.
  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

// Threads of a block as ThreadSanitizer sees them, so that it finds accesses to shared memory that
// no barrier orders. Without ThreadSanitizer all of these do nothing.
namespace race_check {
void* create();  // a new logical thread, ordered after the caller
void destroy(void* thread);
void* current();
void enter(void* thread);    // the host thread goes on as this logical thread; orders nothing
void release(void* object);  // what this thread did is visible to whoever acquires `object`
void acquire(void* object);
bool enabled();
}  // namespace race_check

}  // namespace simt
