#include <cmath>

#include "base/clock.h"
#include "comm/cuda/group_fixture_for_test.h"

namespace tandem {
namespace {

// What every rank holds after `times` reductions of new numbers each; the last one's.
std::vector<std::vector<float>> all_reduce(Group& group, std::int64_t rows, std::int64_t columns,
                                           int times = 1, std::int64_t gap = 0) {
  std::vector<std::vector<float>> results(static_cast<std::size_t>(group.size()));
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    const std::vector<float> own = contribution(comm.rank(), rows * columns);
    // All are freed at the end: freeing waits for the GPU, where the kernel of a rank that shares
    // it may wait for this rank's next reduction.
    std::vector<Matrix> matrices;
    for (int i = 0; i < times; ++i) {
      matrices.emplace_back(device, stream, own, rows, columns, columns + gap * comm.rank());
      const Status status = comm.all_reduce_sum(stream, matrices.back().x);
      EXPECT_TRUE(status.ok()) << status.error().to_string();
      results[static_cast<std::size_t>(comm.rank())] = matrices.back().read(stream);
    }
  });
  return results;
}

void expect_sums(Group& group, std::int64_t rows, std::int64_t columns, int times = 1,
                 std::int64_t gap = 0) {
  const auto results = all_reduce(group, rows, columns, times, gap);
  const auto expected = sum_in_order(group.size(), rows * columns);
  for (const auto& result : results) {
    ASSERT_EQ(result, expected) << rows << " x " << columns << ", " << group.size() << " ranks";
  }
}

struct Way {
  ReduceAlgorithm algorithm;
  GpuTransport transport;
};
void PrintTo(const Way& way, std::ostream* out) {
  *out << "algorithm " << static_cast<int>(way.algorithm) << ", transport "
       << static_cast<int>(way.transport);
}

class EveryWay : public testing::TestWithParam<Way> {};

// Every algorithm gives the bits of adding in the order of ranks, over either transport.
TEST_P(EveryWay, AddsInTheOrderOfRanks) {
  for (const int size : {1, 2, 4}) {
    Group group(size, options_for(GetParam().algorithm, GetParam().transport));
    EXPECT_EQ(group.transport(), GetParam().transport);
    for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{0, 8},
                                        {7, 0},
                                        {1, 1},
                                        {3, 17},
                                        {1, 2048},
                                        {5, 1028}}) {
      expect_sums(group, rows, columns);
    }
    expect_sums(group, 4, 100, 9);    // inboxes are used again and again
    expect_sums(group, 3, 20, 2, 3);  // strides that differ from rank to rank
    expect_sums(group, 2, 70'000);    // more than one piece
  }
}

INSTANTIATE_TEST_SUITE_P(CudaGroup, EveryWay,
                         testing::Values(Way{ReduceAlgorithm::kOneShot, GpuTransport::kPeer},
                                         Way{ReduceAlgorithm::kOneShot, GpuTransport::kHost},
                                         Way{ReduceAlgorithm::kTwoShot, GpuTransport::kPeer},
                                         Way{ReduceAlgorithm::kTwoShot, GpuTransport::kHost},
                                         Way{ReduceAlgorithm::kRing, GpuTransport::kPeer},
                                         Way{ReduceAlgorithm::kRing, GpuTransport::kHost}));

TEST(CudaGroup, AnyNumberOfGpusWithoutPeerAccess) {
  simt::MachineOptions machine;
  machine.num_gpus = 9;
  machine.peer_access = false;
  Group group(9, {}, machine);
  EXPECT_EQ(group.transport(), GpuTransport::kHost);
  expect_sums(group, 2, 300);
}

TEST(CudaGroup, SizesChooseAlgorithmsAndNotBits) {
  Group group(2);
  EXPECT_EQ(group.transport(), GpuTransport::kPeer);
  EXPECT_TRUE(group.notes().empty());
  for (const std::int64_t columns : {4, 40'000, 1'200'000}) expect_sums(group, 1, columns);
}

// The wire rounds every part once, by 2^-11 (F16) or 2^-8 (BF16) of it, and two-shot the sum once
// more.
TEST(CudaGroup, NarrowWiresRoundAndKeepRanksAlike) {
  for (const auto& [wire, rounding] :
       {std::pair{WireType::kF16, 1.0 / 2048}, {WireType::kBf16, 1.0 / 256}}) {
    for (const auto algorithm : {ReduceAlgorithm::kOneShot, ReduceAlgorithm::kTwoShot}) {
      CudaGroupOptions options = options_for(
          algorithm, wire == WireType::kF16 ? GpuTransport::kPeer : GpuTransport::kHost);
      options.wire = wire;
      Group group(3, options);
      for (const std::int64_t columns : {101, 100}) {
        const auto results = all_reduce(group, 5, columns, 2);
        const auto exact = sum_in_order(3, 5 * columns);
        bool rounded = false;
        for (std::size_t i = 0; i < exact.size(); ++i) {
          ASSERT_EQ(results[1][i], results[0][i]);
          ASSERT_EQ(results[2][i], results[0][i]);
          // Each off by half a unit: three parts below 1, and a sum below 4.
          ASSERT_NEAR(results[0][i], exact[i], (3 * 0.5 + 2) * rounding);
          rounded = rounded || results[0][i] != exact[i];
        }
        EXPECT_TRUE(rounded);
      }
    }
  }
}

TEST(CudaGroup, RanksMayShareAGpu) {
  simt::MachineOptions machine;
  machine.num_gpus = 1;
  Group group(2, {}, machine);
  EXPECT_EQ(group.transport(), GpuTransport::kPeer);
  expect_sums(group, 3, 1000);
}

TEST(CudaGroup, GathersColumns) {
  for (const auto transport : {GpuTransport::kPeer, GpuTransport::kHost}) {
    Group group(3, options_for(ReduceAlgorithm::kAuto, transport));
    // The second rank has none; the third's are more than travel at once.
    const std::vector<std::int64_t> offsets = {0, 5, 5, 70'000};
    const std::int64_t rows = 3;
    const auto all = contribution(7, rows * 70'000);
    group.run([&](Communicator& comm, Device& device, Stream& stream) {
      auto own = all;
      const auto rank = static_cast<std::size_t>(comm.rank());
      for (std::size_t i = 0; i < own.size(); ++i) {
        const auto column = static_cast<std::int64_t>(i) % 70'000;
        if (column < offsets[rank] || column >= offsets[rank + 1]) own[i] = -5;
      }
      Matrix matrix(device, stream, own, rows, 70'000, 70'000 + comm.rank());
      const Status status = comm.all_gather_columns(stream, matrix.x, offsets);
      EXPECT_TRUE(status.ok()) << status.error().to_string();
      EXPECT_EQ(matrix.read(stream), all) << "rank " << comm.rank();
    });
  }
}

// Writes of GPU 1 into the memory of GPU 0 are said to be possible and get lost.
TEST(CudaGroup, PeerAccessThatLiesIsNotUsedAndSaidSo) {
  simt::MachineOptions machine;
  machine.num_gpus = 3;
  machine.lost_writes = {{1, 0}};
  Group group(3, {}, machine);
  EXPECT_EQ(group.transport(), GpuTransport::kHost);
  ASSERT_EQ(group.notes().size(), 1u);
  EXPECT_NE(group.notes()[0].find("GPU 1 may write into the memory of GPU 0"), std::string::npos)
      << group.notes()[0];
  expect_sums(group, 3, 1000);
}

TEST(CudaGroup, PeerAccessThatIsDemandedAndLiesIsAnError) {
  simt::MachineOptions machine;
  machine.lost_writes = {{0, 1}};
  simt::set_machine(machine);
  const auto devices = open_devices(2, 2);
  Device* const pointers[] = {devices[0].get(), devices[1].get()};
  const auto group =
      create_cuda_group(pointers, options_for(ReduceAlgorithm::kAuto, GpuTransport::kPeer));
  ASSERT_FALSE(group.ok());
  EXPECT_EQ(group.error().code, ErrorCode::kDeviceFailed);
}

TEST(CudaGroup, WhoDoesNotArriveIsNamedAtTheDeadline) {
  CudaGroupOptions options;
  options.deadline_us = 200'000;
  Group group(3, options);
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    if (comm.rank() == 1) return;
    Matrix matrix(device, stream, contribution(comm.rank(), 100), 1, 100, 100);
    EXPECT_TRUE(comm.all_reduce_sum(stream, matrix.x).ok());
    const Status status = stream.synchronize(kDeadlineUs);
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().to_string().find("rank 1 did not arrive"), std::string::npos)
        << status.error().to_string();
    // The group is of no use from then on.
    EXPECT_FALSE(comm.all_reduce_sum(stream, matrix.x).ok());
    EXPECT_FALSE(comm.barrier().ok());
  });
}

TEST(CudaGroup, AbortEndsWaitsOfKernels) {
  CudaGroupOptions options;
  options.deadline_us = kDeadlineUs;
  Group group(2, options);
  const std::int64_t began = monotonic_us();
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    if (comm.rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      comm.abort(Error{ErrorCode::kDeviceFailed, "a GPU fell off the bus", {}, {}, {}});
      return;
    }
    Matrix matrix(device, stream, contribution(0, 100), 1, 100, 100);
    EXPECT_TRUE(comm.all_reduce_sum(stream, matrix.x).ok());
    const Status status = stream.synchronize(kDeadlineUs);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kPeerLost);
    EXPECT_NE(status.error().to_string().find("fell off the bus"), std::string::npos);
  });
  EXPECT_LT(monotonic_us() - began, kDeadlineUs / 2);
}

TEST(CudaGroup, CanBeDelayed) {
  CudaGroupOptions options;
  options.injected_delay_us = 5'000;
  options.algorithm = ReduceAlgorithm::kOneShot;
  Group group(2, options);
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    comm.reset_stats();
    Matrix matrix(device, stream, contribution(comm.rank(), 100), 1, 100, 100);
    EXPECT_TRUE(comm.all_reduce_sum(stream, matrix.x).ok());
    (void)matrix.read(stream);
    EXPECT_GE(comm.stats().wait_seconds, 0.0045);
  });
}

TEST(CudaGroup, MeasuresItself) {
  CudaGroupOptions options;
  options.measure_crossovers = true;
  options.max_bytes = 64 << 10;
  Group group(2, options);
  group.run([&](Communicator& comm, Device& device, Stream& stream) {
    comm.reset_stats();
    Matrix matrix(device, stream, contribution(comm.rank(), 1000), 1, 1000, 1000);
    EXPECT_TRUE(comm.all_reduce_sum(stream, matrix.x).ok());
    (void)matrix.read(stream);
    const CommStats& stats = comm.stats();
    EXPECT_EQ(stats.num_reductions, 1);
    EXPECT_GE(stats.sent_bytes, 4000);
    EXPECT_GT(stats.move_seconds, 0);
    EXPECT_LT(stats.move_seconds + stats.wait_seconds, 60);
  });
}

}  // namespace
}  // namespace tandem
