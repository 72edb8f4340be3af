#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace tandem {

// A thread's worth of waiting: sockets, timers and tasks of everything that was given this loop,
// run by the one thread that calls run(). What lives on a loop needs no locks of its own.
class EventLoop {
 public:
  // Who runs it. Several threads need strands for what must not happen at once, and hand each
  // other their tasks; one alone saves itself that.
  enum class Threads : std::uint8_t { kOne, kSeveral };

  // Runs a task once its time has come, unless it is destroyed or set anew before. Loop thread
  // only.
  class Timer {
   public:
    explicit Timer(EventLoop& loop);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    void start(std::int64_t delay_ms, std::function<void()> task);
    void cancel();

   private:
    struct State;
    std::shared_ptr<State> state_;
  };

  explicit EventLoop(Threads threads = Threads::kOne);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Blocks until stop().
  void run();
  // Any thread. What is still pending is dropped with the loop.
  void stop();
  // Runs `task` on the loop's thread, never before this returns. Any thread.
  void post(std::function<void()> task);

  struct Impl;  // server/http/event_loop_asio.h, for the files that speak Asio
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
