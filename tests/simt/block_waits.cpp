// Where the threads of a block wait for one another: barriers, warp-wide operations, polling loops.
#include <chrono>
#include <cstring>
#include <thread>

#include "simt/block_runner.h"

namespace simt {
namespace {

// Names are literals: mostly one address, but not in every translation unit.
bool same_name(const char* a, const char* b) {
  return a == b || std::strcmp(a, b) == 0;
}

std::string triple(const uint3& v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

}  // namespace

BlockVote BlockRunner::vote(int value, const char* name) {
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

const WarpSlots& BlockRunner::exchange(std::uint32_t mask, const void* mine, int bytes,
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

// Once every thread of the block that can run has polled in vain for a while, what they poll for
// comes from another host thread, which needs the core more: the machine may have fewer of them
// than streams.
void BlockRunner::yield() {
  constexpr std::size_t kSpins = 32;
  constexpr std::chrono::microseconds kPause{20};
  if (++num_polls_ > kSpins + ready_.size()) {
    std::this_thread::sleep_for(kPause);
    num_polls_ = kSpins;
  } else {
    std::this_thread::yield();
  }
  ready_.push_back(current_);
  wait("a polling loop", 0);
}

void BlockRunner::fail(const std::string& what) {
  if (error_.empty()) error_ = what;
  abandoned_ = true;
  throw Abandoned{};
}

void BlockRunner::wait(const char* name, std::uint32_t mask) {
  Thread& me = *current_;
  me.waits_at = name;
  me.wait_mask = mask;
  me.worker->fiber->suspend();
  me.waits_at = nullptr;
  if (abandoned_) throw Abandoned{};
}

void BlockRunner::wake(std::vector<Thread*>& threads) {
  num_polls_ = 0;
  ready_.insert(ready_.end(), threads.begin(), threads.end());
  threads.clear();
}

std::string BlockRunner::describe_block() const {
  return std::string(grid_->name) + ": block " + triple(blockIdx);
}

std::string BlockRunner::describe(const Thread& thread) const {
  return describe_block() + " thread " + triple(thread.place);
}

std::string BlockRunner::deadlock() const {
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

}  // namespace simt
