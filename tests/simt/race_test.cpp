// Races that the emulation's order of threads hides are found, and what is ordered is not taken for
// one. The kernels of this file are compiled as those of src/ are (TANDEM_SIMT_RACES).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "device/cuda/warp_mma.h"
#include "simt/block.h"
#include "simt/cuda.h"
#include "simt/race_checker.h"

namespace {

using testing::HasSubstr;

std::string run(dim3 grid, dim3 block, std::function<void()> body, std::size_t shared = 0) {
  return simt::run_grid({grid, block, shared, std::move(body), "racy_kernel"});
}

class Races : public testing::Test {
 protected:
  void SetUp() override {
    if (!simt::RaceChecker::enabled()) GTEST_SKIP() << "TANDEM_SIMT_RACES=0";
  }
};

int lane() {
  return static_cast<int>(threadIdx.x % 32);
}

// Threads run one after another from the first on, so that the values are the right ones.
TEST_F(Races, ReadingWhatAnotherThreadWroteNeedsABarrier) {
  std::vector<int> out(64);
  const auto kernel = [&](bool waits) {
    TANDEM_DYNAMIC_SHARED(int, values);
    values[threadIdx.x] = 7;
    if (waits) __syncthreads();
    out[threadIdx.x] = values[threadIdx.x == 0 ? 0 : threadIdx.x - 1];
  };
  EXPECT_EQ(run(
                1, 64, [&] { kernel(true); }, 256),
            "");
  const std::string error = run(
      1, 64, [&] { kernel(false); }, 256);
  EXPECT_THAT(error, HasSubstr("racy_kernel: block (0,0,0): race on shared memory at byte 0"));
  EXPECT_THAT(error, HasSubstr("thread (1,0,0) reads"));
  EXPECT_THAT(error, HasSubstr("what thread (0,0,0) wrote"));
}

// The usual mistake of loops: the next round writes what this one still reads.
TEST_F(Races, WritingWhatAnotherThreadReadNeedsABarrier) {
  std::vector<int> out(64);
  const auto kernel = [&](bool waits) {
    __shared__ int values[64];
    for (int round = 0; round < 3; ++round) {
      values[threadIdx.x] = round;
      __syncthreads();
      out[threadIdx.x] = values[63 - threadIdx.x];
      if (waits) __syncthreads();
    }
  };
  EXPECT_EQ(run(1, 64, [&] { kernel(true); }), "");
  const std::string error = run(1, 64, [&] { kernel(false); });
  EXPECT_THAT(error, HasSubstr("race on a __shared__ variable"));
}

// Behind a barrier lane 31, which came last, goes on first, then the others from lane 0 on.
TEST_F(Races, TheLastThreadThatReadMayNotWriteWhatOthersRead) {
  int sum = 0;
  const std::string error = run(
      1, 32,
      [&] {
        TANDEM_DYNAMIC_SHARED(int, values);
        if (lane() == 0) values[0] = 1;
        __syncthreads();
        const int value = values[0];
        if (lane() == 30) values[0] = value + 1;
        atomicAdd(&sum, value);
      },
      4);
  EXPECT_THAT(error, HasSubstr("thread (30,0,0) writes"));
  EXPECT_THAT(error, HasSubstr("thread (29,0,0) read"));
}

TEST_F(Races, ABarrierOfAWarpOrdersItsLanesAlone) {
  std::vector<int> out(64);
  const auto kernel = [&](int neighbour) {
    TANDEM_DYNAMIC_SHARED(int, values);
    values[threadIdx.x] = 3;
    __syncwarp();
    out[threadIdx.x] = values[static_cast<int>(threadIdx.x) ^ neighbour];
  };
  EXPECT_EQ(run(
                1, 64, [&] { kernel(31); }, 256),
            "");
  EXPECT_THAT(run(
                  1, 64, [&] { kernel(32); }, 256),
              HasSubstr("race on shared memory"));
}

TEST_F(Races, ABarrierOfPartOfAWarpOrdersThatPart) {
  std::vector<int> out(32);
  const auto kernel = [&](int neighbour) {
    TANDEM_DYNAMIC_SHARED(int, values);
    values[lane()] = 3;
    __syncwarp(lane() < 16 ? 0xffffu : 0xffff0000u);
    out[threadIdx.x] = values[lane() ^ neighbour];
  };
  EXPECT_EQ(run(
                1, 32, [&] { kernel(15); }, 128),
            "");
  EXPECT_THAT(run(
                  1, 32, [&] { kernel(16); }, 128),
              HasSubstr("race on shared memory"));
}

// CUDA C++ Programming Guide, "Warp Shuffle Functions": they imply no memory barrier.
TEST_F(Races, ShufflesAndVotesOrderNothing) {
  std::vector<int> out(32);
  const auto kernel = [&](auto&& meet) {
    TANDEM_DYNAMIC_SHARED(int, values);
    values[lane()] = 3;
    meet();
    out[threadIdx.x] = values[lane() ^ 1];
  };
  EXPECT_THAT(run(
                  1, 32, [&] { kernel([] { __shfl_xor_sync(~0u, 1, 1); }); }, 128),
              HasSubstr("race on shared memory"));
  EXPECT_THAT(run(
                  1, 32, [&] { kernel([] { __any_sync(~0u, 1); }); }, 128),
              HasSubstr("race on shared memory"));
}

TEST_F(Races, BlocksOfOneGridAreNeverOrdered) {
  std::vector<int> values(3);
  const auto kernel = [&](unsigned from) {
    values[blockIdx.x] = 5;
    __syncthreads();
    if (values[from] != 5) simt::fail("not what was written");
  };
  EXPECT_EQ(run(3, 1, [&] { kernel(blockIdx.x); }), "");
  const std::string error = run(3, 1, [&] { kernel(0); });
  EXPECT_THAT(error, HasSubstr("race on global memory"));
  EXPECT_THAT(error, HasSubstr("of another block"));
}

// One grid is done before the next one of a stream begins.
TEST_F(Races, GridsFollowOneAnother) {
  std::vector<int> values(64);
  const auto kernel = [&] { values[threadIdx.x] = values[threadIdx.x] + 1; };
  const auto turned = [&] { values[63 - threadIdx.x] = values[63 - threadIdx.x] + 1; };
  EXPECT_EQ(run(1, 64, kernel), "");
  EXPECT_EQ(run(1, 64, turned), "");
  EXPECT_EQ(values, std::vector<int>(64, 2));
}

TEST_F(Races, BytesBesideOneAnotherAreDifferentMemory) {
  std::vector<std::int8_t> values(64);
  EXPECT_EQ(run(2, 32, [&] { values[blockIdx.x * 32 + threadIdx.x] = 1; }), "");
}

TEST_F(Races, AtomicsRaceWithOtherAccessesOnly) {
  unsigned count = 0;
  EXPECT_EQ(run(2, 40, [&] { atomicAdd(&count, 1u); }), "");
  EXPECT_EQ(count, 80u);
  EXPECT_THAT(run(1, 40,
                  [&] {
                    if (threadIdx.x == 7) {
                      count = 0;
                    } else {
                      atomicAdd(&count, 1u);
                    }
                  }),
              HasSubstr("race on global memory"));
}

// Two stages that take turns: a copy may begin only when everybody has read what it replaces, and
// what it brings may be read by others only behind a barrier after the wait.
enum class Mistake { kNone, kNoBarrierBeforeRead, kNoBarrierBeforeCopy, kNoWait };

std::string run_copies(Mistake mistake) {
  alignas(16) static int source[4 * 32 * 4];
  std::vector<int> out(32);
  return run(
      1, 32,
      [&] {
        TANDEM_DYNAMIC_SHARED(int, stages);  // [2][32 * 4]
        const auto copy = [&](int stage) {
          tandem::cuda::cp_async_16(stages + stage % 2 * 128 + 4 * lane(),
                                    source + stage * 128 + 4 * lane());
          tandem::cuda::cp_async_commit();
        };
        copy(0);
        for (int stage = 0; stage < 4; ++stage) {
          if (stage < 3) copy(stage + 1);
          if (mistake != Mistake::kNoWait) {
            if (stage < 3) {
              tandem::cuda::cp_async_wait<1>();
            } else {
              tandem::cuda::cp_async_wait<0>();
            }
          }
          if (mistake != Mistake::kNoBarrierBeforeRead) __syncthreads();
          out[threadIdx.x] = stages[stage % 2 * 128 + 4 * (31 - lane())];
          if (mistake != Mistake::kNoBarrierBeforeCopy) __syncthreads();
        }
        tandem::cuda::cp_async_wait<0>();
      },
      2 * 128 * sizeof(int));
}

TEST_F(Races, AsynchronousCopiesRunUntilTheirWait) {
  EXPECT_EQ(run_copies(Mistake::kNone), "");
  for (const Mistake mistake :
       {Mistake::kNoBarrierBeforeRead, Mistake::kNoBarrierBeforeCopy, Mistake::kNoWait}) {
    EXPECT_THAT(run_copies(mistake), HasSubstr("race on shared memory"))
        << static_cast<int>(mistake);
  }
}

TEST_F(Races, ARaceLeavesTheNextKernelUnharmed) {
  int value = 0;
  EXPECT_THAT(run(2, 64, [&] { value = static_cast<int>(threadIdx.x); }),
              HasSubstr("race on global memory"));
  EXPECT_EQ(run(1, 1, [&] { value = 5; }), "");
  EXPECT_EQ(value, 5);
}

}  // namespace
