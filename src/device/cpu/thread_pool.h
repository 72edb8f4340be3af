#pragma once

#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

namespace tandem {

// The threads of one CPU device, each pinned to its core. They spin briefly between jobs, so that
// the ops of one step follow each other without a system call, and then sleep: an idle device uses
// no CPU. The calling thread is index 0 and works too. Used by one thread at a time.
class ThreadPool {
 public:
  // One thread a core: starts cores.size() - 1 of them and, with `pin`, pins those. An empty list
  // is a bug; a core that the process may not use is not pinned to.
  explicit ThreadPool(std::vector<int> cores, bool pin = true);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Pins the calling thread to the first core, for good (where the pool pins at all). The thread
  // that will call run() does this once; not the constructor, because threads started later inherit
  // the mask of the one that starts them.
  void bind_caller();

  // Calls body(context, i) for every i in [0, size()), each on its own thread, and returns when all
  // are done: what they wrote is visible to the caller. `body` may not throw or call run().
  using Body = void (*)(void* context, int thread_index);
  void run(Body body, void* context);

  // The same for a callable; neither copies nor allocates.
  template <typename F>
  void parallel(F&& body) {
    using Callable = std::remove_reference_t<F>;
    run([](void* context, int thread_index) { (*static_cast<Callable*>(context))(thread_index); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tandem
