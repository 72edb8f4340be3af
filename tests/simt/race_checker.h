#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "simt/vector_types.h"

namespace simt {

// Finds accesses to one byte by two threads of a kernel, at least one of them a write, that nothing
// orders: races, also where the emulation happens to run the threads in the order that was meant.
// What orders two threads is what CUDA's manual says orders memory: __syncthreads (and its votes)
// those of a block, __syncwarp the lanes that call it. Shuffles, votes of a warp and products on
// tensor cores order nothing; threads of different blocks are never ordered. Atomic accesses do not
// race with one another, and order nothing either.
//
// Every byte that was touched has a record of the last write and of reads since, each with its
// thread and time: the number of barriers that the block has passed, and within that a clock that
// each lane of a warp knows of each other as far as __syncwarp told it (a vector clock; Lamport,
// "Time, Clocks, and the Ordering of Events in a Distributed System", 1978). Of reads three are
// kept, which suffice as long as whole warps synchronize; where parts of one do, a race with a
// read may be missed. None is reported that is none.
//
// One checker sees the kernels of one host thread, one after another. Memory that the kernels of
// other streams use at the same time is not compared: only what one grid does.
class RaceChecker {
 public:
  enum class Access : std::uint8_t { kRead, kWrite, kAtomicRead, kAtomicWrite };

  // Kernels are compiled so that their accesses come here (TANDEM_SIMT_RACES), and the environment
  // does not say TANDEM_SIMT_RACES=0.
  static bool enabled();

  struct Range {
    std::uintptr_t begin = 0;
    std::size_t bytes = 0;
    bool has(std::uintptr_t address) const { return address - begin < bytes; }
  };

  void start_grid(const dim3& block);
  void start_block(Range dynamic_shared);
  // From here on accesses are those of thread `index` of the block, whose locals are on `stack`.
  void run_as(unsigned index, Range stack);
  void pass_block_barrier();
  void pass_warp_barrier(unsigned warp, std::uint32_t lanes);

  // place: the code that does it, for the report.
  void access(const void* address, std::size_t bytes, Access kind, const void* place);
  // cp.async writes `bytes` at some time between these two calls, by the same thread. The result of
  // the former is for the latter.
  std::uint64_t begin_copy(const void* to, std::size_t bytes, const void* place);
  void end_copy(const void* to, std::size_t bytes, std::uint64_t begun, const void* place);

  // The first race since the start of the grid, in words; empty: none.
  const std::string& report() const { return report_; }

 private:
  // An access: [63:32] barriers passed, [31:22] thread, [21] atomic, [20:0] its own clock. 0: none.
  using Stamp = std::uint64_t;

  struct Cell {
    Stamp write = 0;
    Stamp read = 0;          // the last
    Stamp same_warp = 0;     // the last by another thread of that one's warp
    Stamp another_warp = 0;  // one by a thread of another warp or block
    std::uint32_t write_place = 0;
    std::uint32_t read_place = 0;
  };
  // Four bytes share a cell until they are touched by fewer at once.
  static constexpr std::size_t kPageBytes = 512;
  static constexpr std::size_t kWordBytes = 4;
  struct Page {
    Cell words[kPageBytes / kWordBytes];
    bool is_split[kPageBytes / kWordBytes] = {};
    std::unique_ptr<Cell[]> bytes;  // [kPageBytes], of words that are split
  };
  // What the lanes of a warp know of one another's clocks.
  struct WarpClocks {
    std::uint32_t known[32][32];  // [lane][of lane]
  };

  // One access, of one byte of it at a time.
  struct Touch {
    Stamp stamp = 0;
    std::uint32_t place = 0;
    bool shared = false;         // memory of a block, not of a grid
    std::uintptr_t address = 0;  // the first byte of the cell that it is at
  };

  Page& page_of(std::uintptr_t address);
  Stamp stamp(bool atomic) const;
  bool is_shared(std::uintptr_t address) const;
  bool is_ordered(Stamp before, bool shared) const;
  bool races(Stamp before, const Touch& touch) const;
  // f(cell), with touch.address set, for every cell of `bytes` bytes from touch.address on.
  template <typename F>
  void for_cells(Touch& touch, std::size_t bytes, F&& f);
  static void split(Page& page, std::size_t word);
  void read(Cell& cell, const Touch& touch);
  void write(Cell& cell, const Touch& touch);
  enum class Did : std::uint8_t { kRead, kWrote };
  void conflict(Stamp before, std::uint32_t place_before, Did before_did, Did did,
                const Touch& touch);
  void forget_clocks();
  std::string describe(Stamp stamp) const;

  dim3 block_;
  std::uint32_t barriers_ = 0;       // of all blocks so far, and one a block
  std::uint32_t first_of_grid_ = 0;  // barriers_ when the grid started
  std::uint32_t first_of_block_ = 0;
  Range dynamic_shared_;
  Range thread_locals_;  // among which static __shared__ arrays are
  unsigned thread_ = 0;
  Range stack_;
  std::unique_ptr<WarpClocks[]> clocks_;  // of 32 warps
  std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages_;
  static constexpr std::size_t kRecent = 64;
  struct Recent {
    std::uintptr_t number = ~std::uintptr_t{0};
    Page* page = nullptr;
  } recent_[kRecent];
  std::string report_;
};

// The checker of the kernel code that this host thread runs now; null outside of kernel code. What
// the instrumentation calls (race_callbacks.cpp) goes there.
inline thread_local constinit RaceChecker* checker_of_kernel = nullptr;

// The emulation's own code between kernel code. Only in files that are not instrumented themselves:
// there the compiler may take both assignments for one.
class OutsideKernel {
 public:
  OutsideKernel() : checker_(checker_of_kernel) { checker_of_kernel = nullptr; }
  ~OutsideKernel() { checker_of_kernel = checker_; }
  OutsideKernel(const OutsideKernel&) = delete;
  OutsideKernel& operator=(const OutsideKernel&) = delete;

 private:
  RaceChecker* checker_;
};

}  // namespace simt
