#include "comm/cuda/overlap.h"

#include <chrono>
#include <future>

#include "base/clock.h"
#include "comm/cuda/group_fixture_for_test.h"
#include "comm/overlapping.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda/matmul/products.h"
#include "device/step_recorder.h"

namespace tandem {
namespace {

using std::chrono::milliseconds;

TEST(OverlappedRows, FewPartsThatFillTheGpu) {
  const cuda::OverlapTerms h100{132, 0};
  EXPECT_EQ(cuda::overlapped_rows(512, 4096, h100), 256);
  EXPECT_EQ(cuda::overlapped_rows(500, 4096, h100), 256);
  EXPECT_EQ(cuda::overlapped_rows(512, 8192, h100), 256);  // 192, 192 and 128: too few at the end
  EXPECT_EQ(cuda::overlapped_rows(8192, 4096, h100), 2048);
  EXPECT_EQ(cuda::overlapped_rows(512, 1024, h100), 512);  // neither blocks nor bytes enough
  EXPECT_EQ(cuda::overlapped_rows(64, 8192, h100), 64);    // what decodes together
}

TEST(OverlappedRows, NoPartChangesTheKernel) {
  for (const std::int64_t columns : {2048, 4096, 5120, 8192, 28'672}) {
    for (const int multiprocessors : {1, 30, 82, 132, 170}) {
      for (std::int64_t rows = 1; rows < 2500; ++rows) {
        const std::int64_t at_once = cuda::overlapped_rows(rows, columns, {multiprocessors, 0});
        std::int64_t parts = 0, covered = 0;
        const Status status =
            for_row_parts(rows, at_once, [&](std::int64_t first, std::int64_t count) -> Status {
              EXPECT_EQ(first, covered);
              EXPECT_TRUE(count == rows || count >= cuda::kManyFrom) << rows << " in " << at_once;
              covered += count;
              ++parts;
              return {};
            });
        ASSERT_TRUE(status.ok());
        ASSERT_EQ(covered, rows);
        ASSERT_LE(parts, 4);
      }
    }
  }
}

Overlapping& overlapping_of(Communicator& comm) {
  auto* overlapping = dynamic_cast<Overlapping*>(&comm);
  EXPECT_NE(overlapping, nullptr);
  return *overlapping;
}

CudaGroupOptions in_parts(std::int64_t rows, CudaGroupOptions options = {}) {
  options.deadline_us = kDeadlineUs;
  options.overlap_rows = rows;
  return options;
}

// As a layer does it, with nothing computed in between.
Status sum_in_parts(Communicator& comm, Stream& stream, const MatrixView& x) {
  Overlapping& overlapping = overlapping_of(comm);
  const std::int64_t at_once = overlapping.rows_at_once(x);
  EXPECT_LT(at_once, x.rows);
  TANDEM_TRY_STATUS(for_row_parts(x.rows, at_once, [&](std::int64_t first, std::int64_t count) {
    return overlapping.begin_sum(stream, x.slice_rows(first, count));
  }));
  return for_row_parts(x.rows, at_once,
                       [&](std::int64_t, std::int64_t) { return overlapping.await_sum(stream); });
}

// Parts, ragged, between reductions of the whole: the sums of adding in the order of ranks.
TEST(OverlappedSums, AreThoseOfTheWhole) {
  constexpr std::int64_t kRows = 57, kColumns = 101;
  for (const auto algorithm :
       {ReduceAlgorithm::kOneShot, ReduceAlgorithm::kTwoShot, ReduceAlgorithm::kRing}) {
    for (const auto transport : {GpuTransport::kPeer, GpuTransport::kHost}) {
      Group group(3, in_parts(24, options_for(algorithm, transport)));
      const auto expected = sum_in_order(3, kRows * kColumns);
      group.run([&](Communicator& comm, Device& device, Stream& stream) {
        const auto own = contribution(comm.rank(), kRows * kColumns);
        std::vector<Matrix> matrices;
        for (int i = 0; i < 5; ++i) {
          matrices.emplace_back(device, stream, own, kRows, kColumns, kColumns + comm.rank());
        }
        for (std::size_t i = 0; i < matrices.size(); ++i) {
          const Status status = i % 2 == 0 ? sum_in_parts(comm, stream, matrices[i].x)
                                           : comm.all_reduce_sum(stream, matrices[i].x);
          EXPECT_TRUE(status.ok()) << status.error().to_string();
        }
        for (Matrix& matrix : matrices) EXPECT_EQ(matrix.read(stream), expected);
      });
    }
  }
}

// The numbers of a part are there late.
TEST(OverlappedSums, BeginBehindWhatComputesTheirPart) {
  constexpr std::int64_t kRows = 16, kColumns = 40;
  Group group(2, in_parts(8));
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    const auto own = contribution(comm.rank(), kRows * kColumns);
    Matrix matrix(device, stream, std::vector<float>(own.size(), -7.0f), kRows, kColumns, kColumns);
    hold_up(stream, 30);
    stream.copy_to_device(matrix.x.data, own.data(), kRows * kColumns * 4);
    EXPECT_TRUE(sum_in_parts(comm, stream, matrix.x).ok());
    EXPECT_EQ(matrix.read(stream), sum_in_order(2, kRows * kColumns));
  });
}

// The other rank comes late: what follows on the stream waits all the same.
TEST(OverlappedSums, AreThereForWhatFollows) {
  constexpr std::int64_t kRows = 16, kColumns = 40;
  Group group(2, in_parts(8));
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    const auto own = contribution(comm.rank(), kRows * kColumns);
    Matrix matrix(device, stream, own, kRows, kColumns, kColumns);
    if (comm.rank() == 1) std::this_thread::sleep_for(milliseconds(50));
    EXPECT_TRUE(sum_in_parts(comm, stream, matrix.x).ok());
    EXPECT_EQ(matrix.read(stream), sum_in_order(2, kRows * kColumns));
  });
}

// While a sum waits for a rank that comes only when it hears of it, the stream goes on.
TEST(OverlappedSums, LetTheStreamGoOn) {
  constexpr std::int64_t kRows = 16, kColumns = 40;
  Group group(2, in_parts(8));
  std::promise<void> went_on;
  auto heard = went_on.get_future();
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    Overlapping& overlapping = overlapping_of(comm);
    const auto own = contribution(comm.rank(), kRows * kColumns);
    Matrix matrix(device, stream, own, kRows, kColumns, kColumns);
    Matrix other(device, stream, own, kRows, kColumns, kColumns);
    if (comm.rank() == 1) {
      EXPECT_EQ(heard.wait_for(milliseconds(20'000)), std::future_status::ready);
    }
    EXPECT_TRUE(overlapping.begin_sum(stream, matrix.x).ok());
    stream.add(other.x, other.x);
    const Status passed = stream.record()->wait(10'000'000);
    EXPECT_TRUE(passed.ok()) << passed.error().to_string();
    if (comm.rank() == 0) went_on.set_value();
    EXPECT_TRUE(overlapping.await_sum(stream).ok());
    EXPECT_EQ(matrix.read(stream), sum_in_order(2, kRows * kColumns));
  });
}

TEST(OverlappedSums, NameWhoDoesNotArrive) {
  CudaGroupOptions options = in_parts(8);
  options.deadline_us = 200'000;
  Group group(2, options);
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    if (comm.rank() == 1) return;
    Matrix matrix(device, stream, contribution(0, 160), 16, 10, 10);
    EXPECT_TRUE(sum_in_parts(comm, stream, matrix.x).ok());
    const Status status = stream.synchronize(kDeadlineUs);
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().to_string().find("rank 1 did not arrive"), std::string::npos)
        << status.error().to_string();
    EXPECT_FALSE(overlapping_of(comm).begin_sum(stream, matrix.x).ok());
  });
}

TEST(OverlappedSums, EndWhereARankGivesUp) {
  Group group(2, in_parts(8));
  const std::int64_t began = monotonic_us();
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    Matrix matrix(device, stream, contribution(comm.rank(), 160), 16, 10, 10);
    if (comm.rank() == 1) {
      EXPECT_TRUE(overlapping_of(comm).begin_sum(stream, matrix.x.slice_rows(0, 8)).ok());
      comm.abort(Error{ErrorCode::kDeviceFailed, "a GPU fell off the bus", {}, {}, {}});
      return;
    }
    Status status = sum_in_parts(comm, stream, matrix.x);
    if (status.ok()) status = stream.synchronize(kDeadlineUs);
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().to_string().find("fell off the bus"), std::string::npos);
  });
  EXPECT_LT(monotonic_us() - began, kDeadlineUs / 2);
}

// In a recording they are branches of its graph.
TEST(OverlappedSums, CanBeRecorded) {
  constexpr std::int64_t kRows = 20, kColumns = 33;
  Group group(2, in_parts(9));
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    auto& recorder = dynamic_cast<StepRecorder&>(stream);
    const auto own = contribution(comm.rank(), kRows * kColumns);
    std::vector<Matrix> matrices;
    for (int i = 0; i < 3; ++i) {
      matrices.emplace_back(device, stream, own, kRows, kColumns, kColumns);
      recorder.begin_step(7);
      const Status status = sum_in_parts(comm, stream, matrices.back().x);
      recorder.end_step();
      EXPECT_TRUE(status.ok()) << status.error().to_string();
      EXPECT_EQ(matrices.back().read(stream), sum_in_order(2, kRows * kColumns));
    }
    EXPECT_EQ(cuda::cuda_stream_of(stream).num_graph_launches(), 2);
  });
}

// What a rank does beside a sum is no time of reducing; what it stands still for is.
TEST(OverlappedSums, CostWhatTheStreamStandsStill) {
  Group group(2, in_parts(8));
  std::promise<void> awaiting;
  auto heard = awaiting.get_future();
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    Overlapping& overlapping = overlapping_of(comm);
    Matrix matrix(device, stream, contribution(comm.rank(), 160), 16, 10, 10);
    if (comm.rank() == 1) {
      EXPECT_EQ(heard.wait_for(milliseconds(20'000)), std::future_status::ready);
      std::this_thread::sleep_for(milliseconds(100));
    }
    EXPECT_TRUE(overlapping.begin_sum(stream, matrix.x).ok());
    EXPECT_TRUE(overlapping.await_sum(stream).ok());
    if (comm.rank() == 0) awaiting.set_value();
    (void)matrix.read(stream);
    if (comm.rank() == 1) return;
    EXPECT_GT(comm.stats().move_seconds, 0.02);
    EXPECT_EQ(comm.stats().wait_seconds, 0.0);
    comm.reset_stats();
    EXPECT_EQ(comm.stats().move_seconds, 0.0);
  });
}

}  // namespace
}  // namespace tandem
