#include "simt/block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>
#include <vector>

#include "simt/fiber.h"
#include "simt/race_checker.h"

namespace simt {
namespace {

// Unwinds the threads of a block whose kernel failed.
struct Abandoned {};

// Names are literals: mostly one address, but not in every translation unit.
bool same_name(const char* a, const char* b) {
  return a == b || std::strcmp(a, b) == 0;
}

struct PendingCopy {
  void* to;
  const void* from;
  int bytes;
  int source_bytes;
  std::uint64_t begun;  // what RaceChecker says of its start
};

struct Worker;

// One GPU thread while it runs.
struct Thread {
  unsigned index = 0;  // in the block, x fastest
  uint3 place{};
  Worker* worker = nullptr;
  const char* waits_at = nullptr;
  std::uint32_t wait_mask = 0;  // of a warp-wide operation
  bool finished = false;
  std::vector<std::vector<PendingCopy>> copies;  // committed groups, and the open one at the end

  void reset(unsigned new_index) {
    index = new_index;
    worker = nullptr;
    waits_at = nullptr;
    finished = false;
    copies.clear();
  }
};

// The lanes that take part in one mask's operations. A lane may be ahead of others by at most one
// operation, so that two sets of slots suffice.
struct LaneGroup {
  std::uint32_t mask = 0;
  std::uint32_t arrived = 0;
  unsigned round = 0;
  const char* name = nullptr;
  WarpSlots slots[2];
  std::vector<Thread*> waiting;
};

struct Warp {
  std::uint32_t lanes = 0;       // that exist
  std::deque<LaneGroup> groups;  // of every mask seen so far; references stay valid

  void reset() {
    lanes = 0;
    for (LaneGroup& group : groups) {
      group.arrived = 0;
      group.waiting.clear();
    }
  }
  LaneGroup& group_of(std::uint32_t mask) {
    for (LaneGroup& group : groups) {
      if (group.mask == mask) return group;
    }
    groups.emplace_back();
    groups.back().mask = mask;
    return groups.back();
  }
};

class Block;

// A fiber that runs one GPU thread after another; a thread that waits keeps it until it goes on.
struct Worker {
  explicit Worker(Block& block);
  std::unique_ptr<Fiber> fiber;
  Thread* thread = nullptr;
};

// The blocks that run on one host thread.
class Block {
 public:
  Block() = default;
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  std::string run(const Grid& grid);

  void barrier(const char* name) { vote(0, name); }
  BlockVote vote(int value, const char* name);
  const WarpSlots& exchange(std::uint32_t mask, const void* mine, int bytes, const char* name);
  void yield();
  [[noreturn]] void fail(const std::string& what);
  void copy_async(void* to, const void* from, int bytes, int source_bytes);
  void finish_copy(const PendingCopy& copy);
  void* shared() { return shared_.get(); }
  Thread& current() { return *current_; }
  bool running() const { return current_ != nullptr; }

  void work(Worker& worker);  // the body of every fiber

 private:
  void start_block(const Grid& grid);
  void run_block();
  void run_thread(Worker& worker, Thread& thread);
  void resume(Worker& worker);
  void enter(const Thread& thread);
  void wait(const char* name, std::uint32_t mask);
  void wake(std::vector<Thread*>& threads);
  void abandon();
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

thread_local Block block;

Worker::Worker(Block& owner)
    : fiber(std::make_unique<Fiber>([this, &owner] { owner.work(*this); })) {}

// Fibers end by themselves: what they run on may not be freed under them.
Block::~Block() {
  ending_ = true;
  for (const auto& worker : workers_) worker->fiber->resume();
}

std::string Block::run(const Grid& grid) {
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

void Block::start_block(const Grid& grid) {
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
  // Allocated anew for every block: a sanitizer then sees what lies outside it or before its start.
  shared_.reset();
  if (grid.shared_bytes > 0) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, grid.shared_bytes) != 0) std::abort();
    std::memset(memory, 0xff, grid.shared_bytes);  // NaN, whatever reads it
    shared_.reset(memory);
  }
  next_thread_ = num_finished_ = 0;
  ready_.clear();
  at_barrier_.clear();
  barrier_name_ = nullptr;
  vote_sum_ = 0;
  if (checks_races_) {
    races_.start_block({reinterpret_cast<std::uintptr_t>(shared_.get()), grid.shared_bytes});
  }
}

void Block::run_block() {
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
void Block::abandon() {
  for (Thread& thread : threads_) {
    if (thread.worker != nullptr && !thread.finished) resume(*thread.worker);
  }
}

void Block::resume(Worker& worker) {
  if (worker.thread != nullptr) enter(*worker.thread);
  worker.fiber->resume();
  current_ = nullptr;
}

// From here on `thread` is the one that runs.
void Block::enter(const Thread& thread) {
  current_ = thread.worker->thread;
  threadIdx = thread.place;
  if (checks_races_) {
    const Fiber& fiber = *thread.worker->fiber;
    races_.run_as(thread.index,
                  {reinterpret_cast<std::uintptr_t>(fiber.stack_begin()), fiber.stack_bytes()});
  }
}

void Block::work(Worker& worker) {
  while (!ending_) {
    while (next_thread_ < threads_.size() && !abandoned_) {
      run_thread(worker, threads_[next_thread_++]);
    }
    worker.thread = nullptr;
    idle_.push_back(&worker);
    worker.fiber->suspend();
  }
}

void Block::run_thread(Worker& worker, Thread& thread) {
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

void Block::wait(const char* name, std::uint32_t mask) {
  Thread& me = *current_;
  me.waits_at = name;
  me.wait_mask = mask;
  me.worker->fiber->suspend();
  me.waits_at = nullptr;
  if (abandoned_) throw Abandoned{};
}

void Block::wake(std::vector<Thread*>& threads) {
  ready_.insert(ready_.end(), threads.begin(), threads.end());
  threads.clear();
}

BlockVote Block::vote(int value, const char* name) {
  if (barrier_name_ != nullptr && !same_name(barrier_name_, name)) {
    fail(describe(*current_) + " calls " + name + " while others wait at " + barrier_name_);
  }
  barrier_name_ = name;
  vote_sum_ += value;
  const auto count = static_cast<int>(threads_.size());
  if (at_barrier_.size() + 1 == threads_.size()) {
    vote_result_ = vote_sum_;
    vote_sum_ = 0;
    barrier_name_ = nullptr;
    if (checks_races_) races_.pass_block_barrier();
    wake(at_barrier_);
  } else {
    at_barrier_.push_back(current_);
    wait(name, 0);
  }
  return {vote_result_, count};
}

const WarpSlots& Block::exchange(std::uint32_t mask, const void* mine, int bytes,
                                 const char* name) {
  Thread& me = *current_;
  Warp& warp = warps_[me.index / 32];
  const unsigned lane = me.index % 32;
  if ((mask >> lane & 1) == 0)
    fail(describe(me) + " calls " + name + " with a mask without itself");
  LaneGroup& group = warp.group_of(mask & warp.lanes);
  if (group.arrived != 0 && !same_name(group.name, name)) {
    fail(describe(me) + " calls " + name + " while other lanes wait at " + group.name);
  }
  WarpSlots& slots = group.slots[group.round % 2];
  if (group.arrived == 0) slots.mask = 0;
  if (bytes > 0) std::memcpy(slots.lane[lane], mine, static_cast<std::size_t>(bytes));
  slots.mask |= 1u << lane;
  group.arrived |= 1u << lane;
  group.name = name;
  if (group.arrived == group.mask) {
    group.arrived = 0;
    ++group.round;
    if (checks_races_ && same_name(name, kWarpBarrier)) {
      races_.pass_warp_barrier(me.index / 32, group.mask);
    }
    wake(group.waiting);
  } else {
    group.waiting.push_back(&me);
    wait(name, group.mask);
  }
  return slots;
}

void Block::yield() {
  std::this_thread::yield();
  ready_.push_back(current_);
  wait("a polling loop", 0);
}

void Block::fail(const std::string& what) {
  if (error_.empty()) error_ = what;
  abandoned_ = true;
  throw Abandoned{};
}

void Block::copy_async(void* to, const void* from, int bytes, int source_bytes) {
  auto& groups = current_->copies;
  if (groups.empty()) groups.emplace_back();
  std::uint64_t begun = 0;
  if (checks_races_) {
    const void* place = __builtin_return_address(0);
    begun = races_.begin_copy(to, static_cast<std::size_t>(bytes), place);
    races_.access(from, static_cast<std::size_t>(source_bytes), RaceChecker::Access::kRead, place);
  }
  groups.back().push_back({to, from, bytes, source_bytes, begun});
}

void Block::finish_copy(const PendingCopy& copy) {
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  const auto source_bytes = static_cast<std::size_t>(copy.source_bytes);
  if (checks_races_) {
    const void* place = __builtin_return_address(0);
    races_.access(copy.from, source_bytes, RaceChecker::Access::kRead, place);
    races_.end_copy(copy.to, bytes, copy.begun, place);
  }
  if (source_bytes > 0) std::memcpy(copy.to, copy.from, source_bytes);
  std::memset(static_cast<std::byte*>(copy.to) + source_bytes, 0, bytes - source_bytes);
}

std::string triple(const uint3& v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

std::string Block::describe_block() const {
  return std::string(grid_->name) + ": block " + triple(blockIdx);
}

std::string Block::describe(const Thread& thread) const {
  return describe_block() + " thread " + triple(thread.place);
}

std::string Block::deadlock() const {
  std::size_t waiting = 0;
  const Thread* first = nullptr;
  for (const Thread& thread : threads_) {
    if (thread.finished) continue;
    ++waiting;
    if (first == nullptr) first = &thread;
  }
  std::string text = "deadlock: " + describe(*first) + " waits at " + first->waits_at;
  if (first->wait_mask != 0) text += " (lanes " + std::to_string(first->wait_mask) + ")";
  return text + "; " + std::to_string(waiting) + " of " + std::to_string(threads_.size()) +
         " threads wait, the others have returned";
}

}  // namespace

std::string run_grid(const Grid& grid) {
  return block.run(grid);
}

void fail(const std::string& what) {
  const OutsideKernel outside;
  block.fail(what);
}

void block_barrier(const char* name) {
  const OutsideKernel outside;
  block.barrier(name);
}

BlockVote block_vote(int value, const char* name) {
  const OutsideKernel outside;
  return block.vote(value, name);
}

const WarpSlots& warp_exchange(std::uint32_t mask, const void* mine, int bytes, const char* name) {
  const OutsideKernel outside;
  return block.exchange(mask, mine, bytes, name);
}

int lane_index() {
  return static_cast<int>(block.current().index % 32);
}

void yield_thread() {
  const OutsideKernel outside;
  block.yield();
}

void* dynamic_shared() {
  return block.shared();
}

void copy_async(void* to, const void* from, int bytes, int source_bytes) {
  const OutsideKernel outside;
  block.copy_async(to, from, bytes, source_bytes);
}

void copy_async_commit() {
  const OutsideKernel outside;
  auto& groups = block.current().copies;
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}

void copy_async_wait(int groups_left) {
  const OutsideKernel outside;
  auto& groups = block.current().copies;
  // The last entry is the open group, which no wait is for.
  while (static_cast<int>(groups.size()) - 1 > groups_left) {
    for (const PendingCopy& copy : groups.front()) block.finish_copy(copy);
    groups.erase(groups.begin());
  }
}

}  // namespace simt
