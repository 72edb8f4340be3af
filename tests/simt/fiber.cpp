#include "simt/fiber.h"

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <mutex>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStackBytes = 256 * 1024;
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif

// Where a stack lies, as AddressSanitizer wants to be told.
struct StackPlace {
  void* fake = nullptr;  // its own bookkeeping of the stack that is left
  const void* bottom = nullptr;
  std::size_t size = 0;
};

void leave_for([[maybe_unused]] StackPlace* from, [[maybe_unused]] const StackPlace& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(from ? &from->fake : nullptr, to.bottom, to.size);
#endif
}

void arrive_at([[maybe_unused]] StackPlace& here, [[maybe_unused]] StackPlace* from) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(here.fake, from ? &from->bottom : nullptr,
                                  from ? &from->size : nullptr);
#endif
}

// Stacks with a guard page that outlive their fibers: every emulated stream is a host thread with
// some hundred fibers of its own, and new pages for all of them would cost more than what they run.
// Sanitizers get new ones, so that what they know of a stack is never another one's.
class Stacks {
 public:
  boost::context::stack_context take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return maker_.allocate();
    const auto context = free_.back();
    free_.pop_back();
    return context;
  }
  void give_back(boost::context::stack_context& context) {
#if defined(__SANITIZE_ADDRESS__)
    // What lies at these addresses next would else be taken for the frames of this one.
    __asan_unpoison_memory_region(static_cast<char*>(context.sp) - context.size, context.size);
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    maker_.deallocate(context);
#else
    const std::lock_guard lock(mutex_);
    free_.push_back(context);
#endif
  }

 private:
  std::mutex mutex_;
  boost::context::protected_fixedsize_stack maker_{kStackBytes};
  std::vector<boost::context::stack_context> free_;
};

// Never destroyed: fibers of other threads may end after main().
Stacks& stacks() {
  static auto* const all = new Stacks;
  return *all;
}

// Tells the fiber's own stack to whoever makes it.
struct Allocator {
  StackPlace* place;

  boost::context::stack_context allocate() {
    const auto context = stacks().take();
    place->bottom = static_cast<const char*>(context.sp) - context.size;
    place->size = context.size;
    return context;
  }
  void deallocate(boost::context::stack_context& context) { stacks().give_back(context); }
};

}  // namespace

struct Fiber::Impl {
  std::function<void()> body;
  StackPlace own;
  StackPlace outside;
  boost::context::fiber inner;
  boost::context::fiber caller;
  bool done = false;
};

Fiber::Fiber(std::function<void()> body) : impl_(std::make_unique<Impl>()) {
  Impl* impl = impl_.get();
  impl->body = std::move(body);
  impl->inner = boost::context::fiber(std::allocator_arg, Allocator{&impl->own},
                                      [impl](boost::context::fiber&& caller) {
                                        arrive_at(impl->own, &impl->outside);
                                        impl->caller = std::move(caller);
                                        impl->body();
                                        impl->done = true;
                                        leave_for(nullptr, impl->outside);
                                        return std::move(impl->caller);
                                      });
}

Fiber::~Fiber() = default;

void Fiber::resume() {
  leave_for(&impl_->outside, impl_->own);
  impl_->inner = std::move(impl_->inner).resume();
  arrive_at(impl_->outside, nullptr);
}

void Fiber::suspend() {
  leave_for(&impl_->own, impl_->outside);
  impl_->caller = std::move(impl_->caller).resume();
  arrive_at(impl_->own, &impl_->outside);
}

bool Fiber::done() const {
  return impl_->done;
}

const void* Fiber::stack_begin() const {
  return impl_->own.bottom;
}

std::size_t Fiber::stack_bytes() const {
  return impl_->own.size;
}

}  // namespace simt
