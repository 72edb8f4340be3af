#include "simt/block_runner.h"

#include <cstring>

namespace simt {

Worker::Worker(BlockRunner& runner)
    : fiber(std::make_unique<Fiber>([this, &runner] { runner.work(*this); })) {}

// Fibers end by themselves: what they run on may not be freed under them.
BlockRunner::~BlockRunner() {
  ending_ = true;
  for (const auto& worker : workers_) worker->fiber->resume();
}

std::string BlockRunner::run(const Grid& grid) {
  grid_ = &grid;
  error_.clear();
  abandoned_ = false;
  gridDim = {grid.grid.x, grid.grid.y, grid.grid.z};
  blockDim = {grid.block.x, grid.block.y, grid.block.z};
  if (checks_races_) races_.start_grid(grid.block);
  for (unsigned z = 0; z < grid.grid.z; ++z) {
    for (unsigned y = 0; y < grid.grid.y; ++y) {
      for (unsigned x = 0; x < grid.grid.x && !abandoned_; ++x) {
        blockIdx = {x, y, z};
        start_block(grid);
        run_block();
      }
    }
  }
  shared_.reset();
  return error_;
}

void BlockRunner::start_block(const Grid& grid) {
  start_threads(grid);
  allocate_shared(grid.shared_bytes);
  next_thread_ = num_finished_ = num_polls_ = 0;
  ready_.clear();
  at_barrier_.clear();
  barrier_name_ = nullptr;
  vote_sum_ = 0;
  if (checks_races_) {
    races_.start_block({reinterpret_cast<std::uintptr_t>(shared_.get()), grid.shared_bytes});
  }
}

void BlockRunner::start_threads(const Grid& grid) {
  const unsigned count = grid.block.x * grid.block.y * grid.block.z;
  threads_.resize(count);
  warps_.resize((count + 31) / 32);
  for (Warp& warp : warps_) warp.reset();
  for (unsigned i = 0; i < count; ++i) {
    Thread& thread = threads_[i];
    thread.reset(i);
    thread.place = {i % grid.block.x, i / grid.block.x % grid.block.y,
                    i / (grid.block.x * grid.block.y)};
    warps_[i / 32].lanes |= 1u << (i % 32);
  }
}

// Allocated anew for every block: a sanitizer then sees what lies outside it or before its start.
void BlockRunner::allocate_shared(std::size_t bytes) {
  shared_.reset();
  if (bytes == 0) return;
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, bytes) != 0) std::abort();
  std::memset(memory, 0xff, bytes);  // NaN, whatever reads it
  shared_.reset(memory);
}

void BlockRunner::run_block() {
  while (num_finished_ < threads_.size() && !abandoned_) {
    if (next_thread_ < threads_.size()) {
      if (idle_.empty()) {
        workers_.push_back(std::make_unique<Worker>(*this));
        idle_.push_back(workers_.back().get());
      }
      Worker* worker = idle_.back();
      idle_.pop_back();
      resume(*worker);
    } else if (!ready_.empty()) {
      Thread* thread = ready_.front();
      ready_.pop_front();
      resume(*thread->worker);
    } else {
      error_ = deadlock();
      abandoned_ = true;
    }
  }
  if (abandoned_) abandon();
  // A race does not end the block: it is found in the middle of kernel code, where nothing may be
  // thrown.
  if (error_.empty() && !races_.report().empty()) {
    error_ = describe_block() + ": " + races_.report();
    abandoned_ = true;
  }
}

// Unwinds every thread that has begun and not ended.
void BlockRunner::abandon() {
  for (Thread& thread : threads_) {
    if (thread.worker != nullptr && !thread.finished) resume(*thread.worker);
  }
}

void BlockRunner::resume(Worker& worker) {
  if (worker.thread != nullptr) enter(*worker.thread);
  worker.fiber->resume();
  current_ = nullptr;
}

// From here on `thread` is the one that runs.
void BlockRunner::enter(const Thread& thread) {
  current_ = thread.worker->thread;
  threadIdx = thread.place;
  if (checks_races_) {
    const Fiber& fiber = *thread.worker->fiber;
    races_.run_as(thread.index,
                  {reinterpret_cast<std::uintptr_t>(fiber.stack_begin()), fiber.stack_bytes()});
  }
}

void BlockRunner::work(Worker& worker) {
  while (!ending_) {
    while (next_thread_ < threads_.size() && !abandoned_) {
      run_thread(worker, threads_[next_thread_++]);
    }
    worker.thread = nullptr;
    idle_.push_back(&worker);
    worker.fiber->suspend();
  }
}

void BlockRunner::run_thread(Worker& worker, Thread& thread) {
  thread.worker = &worker;
  worker.thread = &thread;
  enter(thread);
  if (checks_races_) checker_of_kernel = &races_;
  try {
    grid_->body();
  } catch (const Abandoned&) {
  }
  checker_of_kernel = nullptr;
  thread.finished = true;
  thread.worker = nullptr;
  ++num_finished_;
}

}  // namespace simt
