#include "simt/block.h"

#include <gtest/gtest.h>

#include <vector>

#include "simt/cuda.h"

namespace {

std::string run(dim3 grid, dim3 block, std::function<void()> body, std::size_t shared = 0) {
  return simt::run_grid({grid, block, shared, std::move(body), "test_kernel"});
}

TEST(Block, EveryThreadRunsOnceWithItsPlace) {
  std::vector<int> seen(2 * 3 * 4 * 5, 0);
  EXPECT_EQ(run({2, 3}, {4, 5},
                [&] {
                  const unsigned block = blockIdx.y * gridDim.x + blockIdx.x;
                  ++seen[(block * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x];
                }),
            "");
  EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
}

// Each thread reads what another wrote before the barrier; without it the values are not there yet.
TEST(Block, BarriersOrderSharedMemory) {
  std::vector<int> out(96);
  EXPECT_EQ(run(1, 96,
                [&] {
                  __shared__ int values[96];
                  for (int round = 0; round < 5; ++round) {
                    values[threadIdx.x] = static_cast<int>(threadIdx.x) * (round + 1);
                    __syncthreads();
                    out[threadIdx.x] = values[95 - threadIdx.x];
                    __syncthreads();
                  }
                }),
            "");
  for (int i = 0; i < 96; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], (95 - i) * 5);
}

TEST(Block, VotesCountTheBlock) {
  EXPECT_EQ(run(1, 70,
                [&] {
                  const int count = __syncthreads_count(threadIdx.x < 33);
                  const int any = __syncthreads_or(threadIdx.x == 69);
                  const int all = __syncthreads_and(threadIdx.x < 69);
                  if (count != 33 || any != 1 || all != 0) simt::fail("wrong votes");
                }),
            "");
}

TEST(Block, ShufflesMoveValuesBetweenLanes) {
  EXPECT_EQ(run(1, 64,
                [&] {
                  const int lane = static_cast<int>(threadIdx.x % 32);
                  bool right = __shfl_sync(~0u, lane * 10, 7) == 70;
                  right = right && __shfl_sync(~0u, lane, 1, 8) == (lane & ~7) + 1;
                  right = right && __shfl_xor_sync(~0u, lane, 5) == (lane ^ 5);
                  right = right && __shfl_up_sync(~0u, lane, 3) == (lane < 3 ? lane : lane - 3);
                  right = right && __shfl_down_sync(~0u, lane, 3) == (lane > 28 ? lane : lane + 3);
                  right = right && __ballot_sync(~0u, lane % 2) == 0xaaaaaaaau;
                  right =
                      right && __any_sync(~0u, lane == 31) == 1 && __all_sync(~0u, lane < 31) == 0;
                  right = right && __reduce_add_sync(~0u, lane) == 496 &&
                          __reduce_max_sync(~0u, lane) == 31;
                  right = right &&
                          __match_any_sync(~0u, lane / 16) == (lane < 16 ? 0xffffu : 0xffff0000u);
                  if (!right) simt::fail("a shuffle went wrong");
                }),
            "");
}

TEST(Block, PartsOfAWarpWorkForThemselves) {
  EXPECT_EQ(run(1, 32,
                [&] {
                  const unsigned lane = threadIdx.x;
                  const unsigned mask = lane < 12 ? 0xfffu : 0xfffff000u;
                  unsigned sum = 0;
                  for (unsigned i = 0; i < (lane < 12 ? 3u : 5u); ++i)
                    sum += __reduce_add_sync(mask, 1u);
                  if (sum != (lane < 12 ? 36u : 100u)) simt::fail("wrong sum");
                  __syncwarp();
                }),
            "");
}

TEST(Block, ABarrierThatNotAllReachIsAnError) {
  const std::string error = run(3, 64, [&] {
    if (threadIdx.x != 40) __syncthreads();
  });
  EXPECT_NE(error.find("deadlock"), std::string::npos) << error;
  EXPECT_NE(error.find("__syncthreads"), std::string::npos) << error;
  EXPECT_NE(error.find("63 of 64"), std::string::npos) << error;
}

TEST(Block, LanesThatAreMissingAreAnError) {
  const std::string error = run(1, 32, [&] {
    if (threadIdx.x < 31) __shfl_sync(~0u, 1, 0);
  });
  EXPECT_NE(error.find("__shfl_sync"), std::string::npos) << error;
}

TEST(Block, OperationsThatDoNotAgreeAreAnError) {
  const std::string error = run(1, 32, [&] {
    if (threadIdx.x == 3) {
      __syncwarp();
    } else {
      __shfl_sync(~0u, 1, 0);
    }
  });
  EXPECT_NE(error.find("while other lanes wait"), std::string::npos) << error;
}

TEST(Block, AnErrorLeavesTheNextKernelUnharmed) {
  EXPECT_NE(run(2, 128,
                [&] {
                  if (threadIdx.x == 100) simt::fail("this one");
                  __syncthreads();
                }),
            "");
  int count = 0;
  EXPECT_EQ(run(2, 128,
                [&] {
                  __syncthreads();
                  atomicAdd(&count, 1);
                }),
            "");
  EXPECT_EQ(count, 256);
}

TEST(Block, DynamicSharedMemoryIsTheBlocks) {
  std::vector<float> out(4);
  EXPECT_EQ(run(
                4, 32,
                [&] {
                  TANDEM_DYNAMIC_SHARED(float, values);
                  values[threadIdx.x] = static_cast<float>(threadIdx.x + blockIdx.x);
                  __syncthreads();
                  if (threadIdx.x == 0) out[blockIdx.x] = values[31];
                },
                32 * sizeof(float)),
            "");
  EXPECT_EQ(out, (std::vector<float>{31, 32, 33, 34}));
}

TEST(Block, AtomicsCount) {
  unsigned count = 0;
  float sum = 0;
  EXPECT_EQ(run(5, 40,
                [&] {
                  atomicAdd(&count, 1u);
                  atomicAdd(&sum, 0.5f);
                }),
            "");
  EXPECT_EQ(count, 200u);
  EXPECT_EQ(sum, 100.0f);
}

TEST(Block, PollingLetsOthersOn) {
  int flag = 0;
  EXPECT_EQ(run(1, 2,
                [&] {
                  if (threadIdx.x == 0) {
                    while (atomicAdd(&flag, 0) == 0) __nanosleep(100);
                  } else {
                    atomicExch(&flag, 1);
                  }
                }),
            "");
}

TEST(Intrinsics, WorkOnBytes) {
  EXPECT_EQ(__dp4a(0x01ff027f, 0x02010303, 10), 10 + 2 - 1 + 6 + 381);
  EXPECT_EQ(__byte_perm(0x33221100u, 0x77665544u, 0x7531u), 0x77553311u);
  EXPECT_EQ(__byte_perm(0x00000080u, 0, 0x8888u), 0xffffffffu);
  EXPECT_EQ(__vsubss4(0x80000000u, 0x01000000u), 0x80000000u);
  EXPECT_EQ(__funnelshift_r(0x11223344u, 0x55667788u, 8), 0x88112233u);
}

}  // namespace
