#include "simt/block.h"

#include "simt/block_runner.h"
#include "simt/race_checker.h"

namespace simt {
namespace {

thread_local BlockRunner runner;

}  // namespace

std::string run_grid(const Grid& grid) {
  return runner.run(grid);
}

void fail(const std::string& what) {
  const OutsideKernel outside;
  runner.fail(what);
}

void block_barrier(const char* name) {
  const OutsideKernel outside;
  runner.vote(0, name);
}

BlockVote block_vote(int value, const char* name) {
  const OutsideKernel outside;
  return runner.vote(value, name);
}

const WarpSlots& warp_exchange(std::uint32_t mask, const void* mine, int bytes, const char* name) {
  const OutsideKernel outside;
  return runner.exchange(mask, mine, bytes, name);
}

int lane_index() {
  return static_cast<int>(runner.current().index % 32);
}

void yield_thread() {
  const OutsideKernel outside;
  runner.yield();
}

void* dynamic_shared() {
  return runner.shared();
}

void copy_async(void* to, const void* from, int bytes, int source_bytes) {
  const OutsideKernel outside;
  runner.current().copies.begin(to, from, bytes, source_bytes, runner.races(),
                                __builtin_return_address(0));
}

void copy_async_commit() {
  const OutsideKernel outside;
  runner.current().copies.commit();
}

void copy_async_wait(int groups_left) {
  const OutsideKernel outside;
  runner.current().copies.wait(groups_left, runner.races(), __builtin_return_address(0));
}

}  // namespace simt
