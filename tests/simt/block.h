#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "simt/vector_types.h"

// Built-in variables of the thread that runs on this host thread now.
inline thread_local constinit uint3 threadIdx{0, 0, 0};
inline thread_local constinit uint3 blockIdx{0, 0, 0};
inline thread_local constinit uint3 blockDim{1, 1, 1};
inline thread_local constinit uint3 gridDim{1, 1, 1};
inline constexpr int warpSize = 32;

namespace simt {

// One kernel start: `body` is the kernel with its arguments, called once a thread.
struct Grid {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
  std::function<void()> body;
  const char* name = "kernel";
};

// Runs all blocks of a kernel on the calling host thread, one block after another, each block's
// threads as fibers that switch at barriers and warp-wide operations alone. Returns the empty
// string, or what went wrong: a barrier that not all threads reached, warp-wide operations that do
// not agree, or what a thread reported by fail(). After that the rest of the grid is not run.
std::string run_grid(const Grid& grid);

// Ends the running kernel with this error; does not return.
[[noreturn]] void fail(const std::string& what);

// The operations of the running thread. `name` says in errors where a thread waits.
void block_barrier(const char* name);
// A barrier whose threads learn the sum of `value` over the block, and over how many it was.
struct BlockVote {
  int sum = 0;
  int num_threads = 0;
};
BlockVote block_vote(int value, const char* name);

inline constexpr int kLaneBytes = 64;  // the most that a lane can give into one exchange

// What the lanes of a warp gave into an exchange; valid until the next one of the same lanes.
struct WarpSlots {
  alignas(16) std::byte lane[32][kLaneBytes];
  std::uint32_t mask = 0;  // the lanes that took part

  template <typename T>
  T get(int index) const {
    static_assert(sizeof(T) <= kLaneBytes);
    T value;
    __builtin_memcpy(&value, lane[index], sizeof(T));
    return value;
  }
};
// Waits until every lane of `mask` has called the same operation (the same `name`) with the same
// mask; each gives `bytes` (<= kLaneBytes) and sees what the others gave. Orders memory in the eyes
// of the race checker only where the name is kWarpBarrier.
inline constexpr const char* kWarpBarrier = "__syncwarp";
const WarpSlots& warp_exchange(std::uint32_t mask, const void* mine, int bytes, const char* name);

int lane_index();
// Lets other threads of the block, and other host threads, go on: inside loops that poll.
void yield_thread();
// Dynamic shared memory of the block, exactly as large as the launch said.
void* dynamic_shared();

// cp.async: copied when the thread waits for it and not before, so that a missing wait shows.
void copy_async(void* to, const void* from, int bytes, int source_bytes);
void copy_async_commit();
void copy_async_wait(int groups_left);

}  // namespace simt
