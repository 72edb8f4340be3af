// Groups of GPUs where NCCL is there: large sums go by it, and what it does wrong is found out.
#include <dlfcn.h>

#include "comm/cuda/group_fixture_for_test.h"
#include "comm/overlapping.h"
#include "nccl_double.h"

namespace tandem {
namespace {

// The library that the code under test opens, which is not linked.
NcclDouble& nccl() {
  static NcclDouble* const found = [] {
    void* library = dlopen("libnccl.so.2", RTLD_NOW);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      std::abort();
    }
    return reinterpret_cast<NcclDouble* (*)()>(dlsym(library, "nccl_double"))();
  }();
  return *found;
}

class CudaNccl : public testing::Test {
 protected:
  void SetUp() override {
    nccl().init_result = ncclSuccess;
    nccl().reduce_result = ncclSuccess;
    nccl().gives_wrong_sums = false;
    nccl().hangs = false;
    nccl().num_inits = 0;
    nccl().num_reductions = 0;
  }
  void TearDown() override { EXPECT_EQ(nccl().num_alive, 0) << "communicators that stay"; }
};

CudaGroupOptions options_with(std::int64_t deadline_us = kDeadlineUs) {
  CudaGroupOptions options;
  options.deadline_us = deadline_us;
  return options;
}

struct Outcome {
  std::vector<std::vector<float>> sums;  // of each rank
  int num_calls = 0;                     // of NCCL, by one rank each
};

// gap: of rank r, rows are gap * r floats further apart than they are long.
Outcome all_reduce(Group& group, std::int64_t rows, std::int64_t columns, std::int64_t gap = 0) {
  Outcome outcome;
  outcome.sums.resize(static_cast<std::size_t>(group.size()));
  const int before = nccl().num_reductions;
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    Matrix matrix(device, stream, contribution(comm.rank(), rows * columns), rows, columns,
                  columns + gap * comm.rank());
    const Status status = comm.all_reduce_sum(stream, matrix.x);
    EXPECT_TRUE(status.ok()) << status.error().to_string();
    outcome.sums[static_cast<std::size_t>(comm.rank())] = matrix.read(stream);
  });
  outcome.num_calls = nccl().num_reductions - before;
  return outcome;
}

void expect_near_sums(const Outcome& outcome, std::int64_t count) {
  const auto size = static_cast<int>(outcome.sums.size());
  const auto expected = sum_in_order(size, count);
  for (const auto& sums : outcome.sums) {
    ASSERT_EQ(sums, outcome.sums[0]) << "ranks differ";
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(sums[i], expected[i], 1e-6 * size);  // parts are below 1
    }
  }
}

constexpr std::int64_t kLargeColumns = 1'100'000;  // 4.4 MB: beyond where the ring begins

TEST_F(CudaNccl, LargeSumsGoByItAndSmallOnesDoNot) {
  simt::MachineOptions machine;
  machine.num_gpus = 3;
  Group group(3, options_with(), machine);
  EXPECT_TRUE(group.notes().empty());
  EXPECT_EQ(nccl().num_inits, 1) << "what stood the trial is what is used";
  const Outcome small = all_reduce(group, 2, 1000);
  EXPECT_EQ(small.num_calls, 0);
  EXPECT_EQ(small.sums[2], sum_in_order(3, 2000));
  const Outcome large = all_reduce(group, 1, kLargeColumns);
  EXPECT_EQ(large.num_calls, 3);
  expect_near_sums(large, kLargeColumns);
  EXPECT_NE(large.sums[0], sum_in_order(3, kLargeColumns)) << "the stand-in adds in another order";
}

// Rank 0's rows lie side by side, those of others do not: all go the same way.
TEST_F(CudaNccl, StridesThatDifferFromRankToRankDoNotPartThem) {
  Group group(2, options_with());
  const Outcome outcome = all_reduce(group, 4, kLargeColumns / 4, 5);
  EXPECT_EQ(outcome.num_calls, 2);
  expect_near_sums(outcome, kLargeColumns / 4 * 4);
}

TEST_F(CudaNccl, SumsBesideArithmeticGoByItToo) {
  CudaGroupOptions options = options_with();
  options.overlap_rows = 3;
  Group group(2, options);
  const std::int64_t rows = 6, columns = kLargeColumns / 3;
  Outcome outcome;
  outcome.sums.resize(2);
  const int before = nccl().num_reductions;
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    Matrix matrix(device, stream, contribution(comm.rank(), rows * columns), rows, columns,
                  columns);
    auto& overlapping = dynamic_cast<Overlapping&>(comm);
    const std::int64_t at_once = overlapping.rows_at_once(matrix.x);
    EXPECT_EQ(at_once, 3);
    EXPECT_TRUE(overlapping.begin_sum(stream, matrix.x.slice_rows(0, 3)).ok());
    EXPECT_TRUE(overlapping.begin_sum(stream, matrix.x.slice_rows(3, 3)).ok());
    EXPECT_TRUE(overlapping.await_sum(stream).ok());
    EXPECT_TRUE(overlapping.await_sum(stream).ok());
    outcome.sums[static_cast<std::size_t>(comm.rank())] = matrix.read(stream);
  });
  EXPECT_EQ(nccl().num_reductions - before, 2 * 2);
  expect_near_sums(outcome, rows * columns);
}

// It moves float32 alone, and one rank a GPU; and it may be switched off.
TEST_F(CudaNccl, IsNotAskedWhereItCannotServe) {
  simt::MachineOptions one_gpu;
  one_gpu.num_gpus = 1;
  CudaGroupOptions narrow = options_with();
  narrow.wire = WireType::kF16;
  CudaGroupOptions without = options_with();
  without.use_nccl = false;
  { Group shared(2, options_with(), one_gpu); }
  { Group rounded(2, narrow); }
  { Group alone(1, options_with()); }
  Group ring(2, without);
  EXPECT_EQ(nccl().num_inits, 0);
  EXPECT_EQ(all_reduce(ring, 1, kLargeColumns).sums[1], sum_in_order(2, kLargeColumns));
}

// Whatever is wrong with it at the start, the ring does its work, and the user is told why.
TEST_F(CudaNccl, WhatFailsTheTrialIsNotUsedAndSaidSo) {
  struct Case {
    std::function<void()> spoil;
    const char* note;
    std::int64_t deadline_us = kDeadlineUs;
  };
  const Case cases[] = {
      {[] { nccl().gives_wrong_sums = true; }, "NCCL is not used: it gave wrong sums"},
      {[] { nccl().hangs = true; }, "did not finish its work", 300'000},
      {[] { nccl().reduce_result = ncclSystemError; }, "unhandled system error"}};
  for (const Case& one : cases) {
    SetUp();
    one.spoil();
    Group group(2, options_with(one.deadline_us));
    ASSERT_EQ(group.notes().size(), 1u) << one.note;
    EXPECT_NE(group.notes()[0].find(one.note), std::string::npos) << group.notes()[0];
    EXPECT_EQ(nccl().num_alive, 0);
  }
  SetUp();
  nccl().init_result = ncclUnhandledCudaError;
  Group group(2, options_with());
  EXPECT_EQ(all_reduce(group, 1, kLargeColumns).sums[0], sum_in_order(2, kLargeColumns));
}

TEST_F(CudaNccl, ItsErrorsAreTypedAndEndTheGroup) {
  for (const auto& [result, code] : {std::pair{ncclUnhandledCudaError, ErrorCode::kDeviceFailed},
                                     {ncclRemoteError, ErrorCode::kPeerLost},
                                     {ncclInvalidUsage, ErrorCode::kInternal}}) {
    SetUp();
    Group group(2, options_with());
    nccl().reduce_result = result;
    group.run([&, code = code](Communicator& comm, Device& device, Stream& stream) {
      Matrix matrix(device, stream, contribution(comm.rank(), kLargeColumns), 1, kLargeColumns,
                    kLargeColumns);
      const Status status = comm.all_reduce_sum(stream, matrix.x);
      ASSERT_FALSE(status.ok());
      // The other rank may have failed the group before.
      EXPECT_TRUE(status.error().code == code || status.error().code == ErrorCode::kPeerLost);
      EXPECT_NE(status.error().to_string().find("NCCL"), std::string::npos)
          << status.error().to_string();
      EXPECT_FALSE(comm.all_reduce_sum(stream, matrix.x).ok());
    });
  }
}

// NCCL's kernels wait for ever; the stream's deadline and the group's abort end that.
TEST_F(CudaNccl, ARankThatDoesNotComeIsNotWaitedForForEver) {
  Group group(2, options_with());
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    if (comm.rank() == 1) return;
    Matrix matrix(device, stream, contribution(0, kLargeColumns), 1, kLargeColumns, kLargeColumns);
    EXPECT_TRUE(comm.all_reduce_sum(stream, matrix.x).ok());
    const Status status = stream.synchronize(200'000);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kDeadline) << status.error().to_string();
    comm.abort(status.error());
    EXPECT_FALSE(comm.all_reduce_sum(stream, matrix.x).ok());
  });
  EXPECT_EQ(nccl().num_alive, 0);
}

// The stand-in ends the program where a communicator is freed under a call.
TEST_F(CudaNccl, AbortMayComeInTheMiddleOfCalls) {
  for (int round = 0; round < 4; ++round) {
    Group group(2, options_with());
    group.run([&](Communicator& comm, Device& device, Stream& stream) {
      Matrix matrix(device, stream, contribution(comm.rank(), kLargeColumns), 1, kLargeColumns,
                    kLargeColumns);
      for (int i = 0; i < 5; ++i) {
        if (comm.rank() == 1 && i == round) {
          comm.abort(Error{ErrorCode::kDeviceFailed, "a GPU fell off the bus", {}, {}, {}});
        }
        if (!comm.all_reduce_sum(stream, matrix.x).ok()) return;
      }
    });
    EXPECT_EQ(nccl().num_alive, 0);
  }
}

}  // namespace
}  // namespace tandem
