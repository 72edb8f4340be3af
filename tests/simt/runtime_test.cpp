#include "simt/runtime.h"
#include "simt/hang.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "simt/cuda.h"
#include "simt/hang.h"
#include "simt/host_waits.h"

namespace {

using tandem::cuda::launch;

// Others poll for it.
void store(int* out, int value) {
  atomicExch(out, value);
}
void add_one(int* out) {
  ++*out;
}
void take_a_while(int*) {
  std::this_thread::sleep_for(std::chrono::microseconds(100));
}
void wait_for(int* flag) {
  while (atomicAdd(flag, 0) == 0) __nanosleep(100);
}

class Runtime : public testing::Test {
 protected:
  void SetUp() override {
    simt::clear_errors();
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMalloc(&value_, sizeof(int)), cudaSuccess);
    ASSERT_EQ(cudaMemset(value_, 0, sizeof(int)), cudaSuccess);
  }
  void TearDown() override {
    simt::clear_errors();
    cudaFree(value_);
    cudaStreamDestroy(stream_);
  }
  int value() {
    int host = -1;
    EXPECT_EQ(cudaMemcpy(&host, value_, sizeof(int), cudaMemcpyDeviceToHost), cudaSuccess);
    return host;
  }

  cudaStream_t stream_ = nullptr;
  int* value_ = nullptr;
};

TEST_F(Runtime, StreamsKeepTheirOrder) {
  for (int i = 1; i <= 20; ++i) {
    ASSERT_EQ(launch(stream_, add_one, {1, 1}, value_), cudaSuccess);
  }
  EXPECT_EQ(value(), 20);
}

// The kernel of one stream waits for what a later one of another stream writes.
TEST_F(Runtime, KernelsOfTwoStreamsRunAtTheSameTime) {
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(launch(stream_, wait_for, {1, 1}, value_), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  ASSERT_EQ(launch(other, store, {1, 1}, value_, 1), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  cudaStreamDestroy(other);
}

// Ranks that share a GPU: freeing waits for all streams of the device, of which others come and go.
TEST_F(Runtime, FreeingOutlivesOtherThreadsStreams) {
  std::atomic<bool> stop{false};
  std::thread neighbour([&stop] {
    while (!stop) {
      cudaStream_t stream = nullptr;
      EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
      EXPECT_EQ(launch(stream, take_a_while, {1, 1}, nullptr), cudaSuccess);
      EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    }
  });
  for (int i = 0; i < 300; ++i) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, 64), cudaSuccess);
    ASSERT_EQ(launch(stream_, add_one, {1, 1}, value_), cudaSuccess);
    EXPECT_EQ(cudaFree(memory), cudaSuccess);
    EXPECT_EQ(*value_, i + 1);
  }
  stop = true;
  neighbour.join();
}

TEST_F(Runtime, EventsOrderStreams) {
  cudaStream_t other = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&begin, cudaEventDefault), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&end, cudaEventDefault), cudaSuccess);
  cudaEventRecord(begin, stream_);
  launch(
      stream_,
      +[](int* x) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        *x = 5;
      },
      {1, 1}, value_);
  cudaEventRecord(end, stream_);
  cudaStreamWaitEvent(other, end);
  launch(other, add_one, {1, 1}, value_);
  EXPECT_EQ(cudaStreamSynchronize(other), cudaSuccess);
  EXPECT_EQ(value(), 6);
  float milliseconds = 0;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaSuccess);
  EXPECT_GE(milliseconds, 20.0f);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaStreamDestroy(other);
}

TEST_F(Runtime, GraphsRecordAndReplay) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  launch(stream_, add_one, {1, 1}, value_);
  launch(stream_, add_one, {1, 1}, value_);
  void* memory = nullptr;
  EXPECT_NE(cudaMalloc(&memory, 16), cudaSuccess);
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(value(), 0);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  EXPECT_EQ(value(), 6);
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
}

TEST_F(Runtime, WaitingInsideACaptureBreaksIt) {
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureInvalidated);
}

TEST_F(Runtime, AnInjectedErrorIsStickyOnItsDevice) {
  simt::inject_error(0, cudaErrorIllegalAddress, 1);
  launch(stream_, add_one, {1, 1}, value_);
  launch(stream_, add_one, {1, 1}, value_);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_EQ(launch(stream_, add_one, {1, 1}, value_), cudaErrorIllegalAddress);
  EXPECT_EQ(*value_, 1);
  cudaSetDevice(1);
  cudaStream_t other = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&other, 0), cudaSuccess);
  cudaStreamDestroy(other);
  cudaSetDevice(0);
}

TEST_F(Runtime, AGpuThatHangsGoesOnOnceItIsReleased) {
  simt::inject_hang(0, 1);
  for (int i = 0; i < 3; ++i) launch(stream_, add_one, {1, 1}, value_);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  simt::release_hangs();
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(*value_, 3);
}

TEST_F(Runtime, AKernelThatDeadlocksFailsItsDevice) {
  launch(
      stream_,
      +[](int*) {
        if (threadIdx.x > 0) __syncthreads();
      },
      {1, 32}, value_);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  EXPECT_NE(simt::last_failure().find("deadlock"), std::string::npos);
}

TEST_F(Runtime, MemoryIsCounted) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, std::size_t{2} << 30), cudaErrorMemoryAllocation);
  simt::inject_allocation_failure(0, 0);
  EXPECT_EQ(cudaMalloc(&memory, 16), cudaErrorMemoryAllocation);
  const auto before = simt::counters(0).live_bytes;
  ASSERT_EQ(cudaMalloc(&memory, 100), cudaSuccess);
  EXPECT_EQ(simt::counters(0).live_bytes, before + 100);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(simt::counters(0).live_bytes, before);
}

TEST_F(Runtime, WaitsOfTheHostAreCounted) {
  int* flag = nullptr;
  ASSERT_EQ(cudaHostAlloc(&flag, sizeof(int), cudaHostAllocDefault), cudaSuccess);
  *flag = 0;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  const simt::HostCosts before = simt::host_costs(0);
  launch(stream_, wait_for, {1, 1}, flag);
  ASSERT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  std::thread later([flag] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
  });
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  later.join();
  EXPECT_EQ(simt::host_costs(0).waits, before.waits + 1);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);  // there is nothing to wait for any more
  EXPECT_EQ(simt::host_costs(0).waits, before.waits + 1);
  EXPECT_EQ(simt::host_costs(0).idle_answers, before.idle_answers);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
  EXPECT_EQ(simt::host_costs(0).idle_answers, before.idle_answers + 1);
  cudaEventDestroy(event);
  cudaFreeHost(flag);
}

TEST_F(Runtime, ShapesThatNoGpuHasAreRefused) {
  EXPECT_EQ(launch(stream_, add_one, {1, 2048}, value_), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(stream_, add_one, {0, 32}, value_), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(stream_, add_one, {1, 32, 1 << 20}, value_), cudaErrorInvalidConfiguration);
}

}  // namespace
