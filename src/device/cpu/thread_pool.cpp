#include "device/cpu/thread_pool.h"

#include <atomic>
#include <limits>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/cores.h"
#include "base/waitable_counter.h"

namespace tandem {
namespace {

// Longer than the gaps between the ops of a step, shorter than anyone would call idle.
constexpr std::int64_t kPauseUs = 50;
constexpr std::int64_t kSpinUs = 200;

// Threads of all pools of this process. Where they outnumber the cores, a thread that spins without
// offering its core keeps the one that it waits for from running.
std::atomic<int> num_pool_threads{0};

WaitLimits idle_limits() {
  const bool crowded =
      num_pool_threads.load(std::memory_order_relaxed) > static_cast<int>(allowed_cores().size());
  return {.pause_us = crowded ? 0 : kPauseUs,
          .spin_us = kSpinUs,
          .deadline_us = std::numeric_limits<std::int64_t>::max() / 2};
}

}  // namespace

struct ThreadPool::State {
  std::vector<int> cores;
  bool pin = true;
  std::vector<std::thread> workers;

  // The job, written before `started` is advanced and left alone until all workers are done.
  Body body = nullptr;
  void* context = nullptr;
  bool stop = false;
  std::uint32_t num_jobs = 0;

  alignas(64) WaitableCounter started;  // jobs begun
  alignas(64) WaitableCounter done;     // jobs x workers finished

  void work(int thread_index) {
    if (pin) (void)pin_this_thread(cores[static_cast<std::size_t>(thread_index)]).ok();
    for (std::uint32_t job = 1;; ++job) {
      started.wait_for(job, idle_limits());
      if (stop) return;
      body(context, thread_index);
      done.advance();
    }
  }
};

ThreadPool::ThreadPool(std::vector<int> cores, bool pin) : state_(std::make_unique<State>()) {
  TANDEM_CHECK(!cores.empty(), "a thread pool needs a core");
  state_->cores = std::move(cores);
  state_->pin = pin;
  num_pool_threads.fetch_add(size());
  for (int i = 1; i < size(); ++i) {
    state_->workers.emplace_back([state = state_.get(), i] { state->work(i); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop = true;
  state_->started.advance();
  for (std::thread& worker : state_->workers) worker.join();
  num_pool_threads.fetch_sub(size());
}

int ThreadPool::size() const {
  return static_cast<int>(state_->cores.size());
}

void ThreadPool::bind_caller() {
  if (state_->pin) (void)pin_this_thread(state_->cores.front()).ok();
}

void ThreadPool::run(Body body, void* context) {
  State& state = *state_;
  if (state.workers.empty()) return body(context, 0);
  state.body = body;
  state.context = context;
  ++state.num_jobs;
  state.started.advance();
  body(context, 0);
  const auto workers = static_cast<std::uint32_t>(state.workers.size());
  state.done.wait_for(state.num_jobs * workers, idle_limits());
}

}  // namespace tandem
