#pragma once

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "simt/async_copies.h"
#include "simt/block.h"
#include "simt/fiber.h"
#include "simt/race_checker.h"
#include "simt/warp.h"

namespace simt {

class BlockRunner;
struct Worker;

// One GPU thread while it runs.
struct Thread {
  unsigned index = 0;  // in the block, x fastest
  uint3 place{};
  Worker* worker = nullptr;
  const char* waits_at = nullptr;
  std::uint32_t wait_mask = 0;  // of a warp-wide operation
  bool finished = false;
  AsyncCopies copies;

  void reset(unsigned new_index) {
    index = new_index;
    worker = nullptr;
    waits_at = nullptr;
    finished = false;
    copies.reset();
  }
};

// A fiber that runs one GPU thread after another; a thread that waits keeps it until it goes on.
struct Worker {
  explicit Worker(BlockRunner& runner);
  std::unique_ptr<Fiber> fiber;
  Thread* thread = nullptr;
};

// Runs the blocks of one host thread's kernels, one after another, each block's threads as fibers.
// What the running GPU thread does comes here by way of block.h.
class BlockRunner {
 public:
  BlockRunner() = default;
  ~BlockRunner();
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;

  // run_grid() of block.h.
  std::string run(const Grid& grid);

  // Of the running thread (block_waits.cpp); what block.h says of each. They may switch to other
  // threads, and unwind this one by an exception when the block is given up.
  BlockVote vote(int value, const char* name);
  const WarpSlots& exchange(std::uint32_t mask, const void* mine, int bytes, const char* name);
  void yield();
  [[noreturn]] void fail(const std::string& what);

  Thread& current() { return *current_; }
  void* shared() { return shared_.get(); }
  RaceChecker* races() { return checks_races_ ? &races_ : nullptr; }  // null: nobody checks

  void work(Worker& worker);  // the body of every fiber

 private:
  struct Abandoned {};  // unwinds the threads of a block whose kernel failed

  void start_block(const Grid& grid);
  void start_threads(const Grid& grid);
  void allocate_shared(std::size_t bytes);
  void run_block();
  void run_thread(Worker& worker, Thread& thread);
  void resume(Worker& worker);
  void enter(const Thread& thread);
  void abandon();

  void wait(const char* name, std::uint32_t mask);
  void wake(std::vector<Thread*>& threads);
  std::string deadlock() const;
  std::string describe_block() const;
  std::string describe(const Thread& thread) const;

  const Grid* grid_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
  std::deque<Thread*> ready_;
  std::unique_ptr<void, decltype(&std::free)> shared_{nullptr, &std::free};
  Thread* current_ = nullptr;
  std::size_t next_thread_ = 0;
  std::size_t num_finished_ = 0;
  std::size_t num_polls_ = 0;  // since a thread of the block last woke others
  bool abandoned_ = false;
  bool ending_ = false;
  std::string error_;

  std::vector<Thread*> at_barrier_;
  const char* barrier_name_ = nullptr;
  int vote_sum_ = 0;
  int vote_result_ = 0;

  const bool checks_races_ = RaceChecker::enabled();
  RaceChecker races_;
};

}  // namespace simt
