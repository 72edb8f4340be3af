#include "server/http/event_loop.h"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>

#include "server/http/event_loop_asio.h"

namespace tandem {

// Outlives its Timer while a wait that was given up is on its way.
struct EventLoop::Timer::State {
  explicit State(boost::asio::io_context& io) : timer(io) {}
  boost::asio::steady_timer timer;
  std::uint64_t turn = 0;  // raised by each start and cancel: what a late expiry must still equal
};

EventLoop::Timer::Timer(EventLoop& loop) : state_(std::make_shared<State>(loop.impl().io)) {}

EventLoop::Timer::~Timer() {
  cancel();
}

void EventLoop::Timer::start(std::int64_t delay_ms, std::function<void()> task) {
  const std::uint64_t turn = ++state_->turn;
  state_->timer.expires_after(std::chrono::milliseconds(delay_ms));
  state_->timer.async_wait(
      [state = state_, turn, task = std::move(task)](boost::system::error_code error) {
        if (!error && state->turn == turn) task();
      });
}

void EventLoop::Timer::cancel() {
  ++state_->turn;
  state_->timer.cancel();
}

EventLoop::EventLoop(Threads threads) : impl_(std::make_unique<Impl>(threads)) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
  impl_->io.run();
}

void EventLoop::stop() {
  impl_->io.stop();
}

void EventLoop::post(std::function<void()> task) {
  boost::asio::post(impl_->io, std::move(task));
}

}  // namespace tandem
