#include "comm/cuda/cuda_link.h"

#include <chrono>
#include <future>

#include "base/clock.h"
#include "comm/cuda/group_fixture_for_test.h"
#include "comm/deferred_arrival.h"

namespace tandem {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kRows = 6, kColumns = 50;

std::vector<float> message(int number, std::int64_t rows = kRows) {
  return contribution(number, rows * kColumns);
}

// Stages on an emulated machine: the first device sends to all others.
class Stages {
 public:
  // kinds: 'g' a GPU of its own, 'c' cores.
  explicit Stages(const std::string& kinds, GpuTransport transport = GpuTransport::kAuto,
                  simt::MachineOptions machine = {}, LocalLinkOptions options = {}) {
    machine.num_gpus = static_cast<int>(kinds.size());
    simt::set_machine(machine);
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      auto device = open(static_cast<int>(i), kinds[i]);
      EXPECT_TRUE(device.ok()) << device.error().to_string();
      devices_.push_back(std::move(device).value());
    }
    std::vector<Device*> receivers;
    for (std::size_t i = 1; i < kinds.size(); ++i) receivers.push_back(devices_[i].get());
    options.num_receivers = static_cast<int>(receivers.size());
    options.max_bytes = kRows * kColumns * 4;
    auto made = create_cuda_link(*devices_[0], receivers, options, transport);
    EXPECT_TRUE(made.ok()) << made.error().to_string();
    if (made.ok()) made_ = std::move(made).value();
  }

  const CudaLink& made() const { return made_; }
  StageLink& link() { return *made_.link; }

  // Runs send(device, stream) and, for each receiver, receive(number, device, stream), each on its
  // own thread.
  using Sender = std::function<void(Device&, Stream&)>;
  using Receiver = std::function<void(int, Device&, Stream&)>;
  void run(const Sender& send, const Receiver& receive) {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      threads.emplace_back([&, i] {
        devices_[i]->bind_thread();
        const auto stream = devices_[i]->create_stream();
        if (i == 0) send(*devices_[i], *stream);
        if (i > 0) receive(static_cast<int>(i) - 1, *devices_[i], *stream);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  static Result<std::unique_ptr<Device>> open(int index, char kind) {
    if (kind == 'g') return create_cuda_device("cuda:" + std::to_string(index), {index});
    CpuDeviceOptions options;
    options.cores = {0};
    options.pin_threads = false;
    return create_cpu_device("cpu:0", options);
  }

  std::vector<std::unique_ptr<Device>> devices_;
  CudaLink made_;
};

// Messages of several shapes, more than there are slots; every receiver gets each. A matrix is used
// again for the next message at once: what was sent does not change with it.
void pass_messages(Stages& stages) {
  constexpr int kMessages = 7;
  const auto rows_of = [](int number) { return std::int64_t{1} + number % kRows; };
  stages.run(
      [&](Device& device, Stream& stream) {
        Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
        for (int i = 0; i < kMessages; ++i) {
          const auto numbers = message(i, rows_of(i));
          const MatrixView x = matrix.x.slice_rows(0, rows_of(i));
          stream.copy_to_device(x.data, numbers.data(), x.rows * kColumns * 4);
          const Status status = stages.link().send(stream, x);
          EXPECT_TRUE(status.ok()) << status.error().to_string();
        }
        EXPECT_TRUE(stream.synchronize(kDeadlineUs).ok());
        EXPECT_EQ(stages.link().stats(-1).num_transfers, kMessages);
      },
      [&](int receiver, Device& device, Stream& stream) {
        std::vector<Matrix> matrices;
        for (int i = 0; i < kMessages; ++i) {
          matrices.emplace_back(device, stream, std::vector<float>(kRows * kColumns, -7.0f),
                                rows_of(i), kColumns, kColumns + receiver);
          const Status status = stages.link().receive(stream, receiver, matrices.back().x);
          EXPECT_TRUE(status.ok()) << status.error().to_string();
        }
        EXPECT_TRUE(dynamic_cast<DeferredArrival&>(stages.link()).wait_for_arrival(receiver).ok());
        for (int i = 0; i < kMessages; ++i) {
          EXPECT_EQ(matrices[static_cast<std::size_t>(i)].read(stream), message(i, rows_of(i)));
        }
      });
}

TEST(CudaLink, PassesMessagesInOrder) {
  for (const auto transport : {GpuTransport::kPeer, GpuTransport::kHost}) {
    for (const char* kinds : {"gg", "ggg"}) {
      Stages stages(kinds, transport);
      EXPECT_EQ(stages.made().transport, transport);
      pass_messages(stages);
    }
  }
}

TEST(CudaLink, PassesMessagesBetweenGpusAndCores) {
  for (const char* kinds : {"gc", "cg", "cgg", "ggc"}) {
    Stages stages(kinds);
    EXPECT_EQ(stages.made().transport, GpuTransport::kHost);
    EXPECT_TRUE(stages.made().notes.empty());
    pass_messages(stages);
  }
}

TEST(CudaLink, RanksMayShareAGpu) {
  simt::set_machine({});
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < 2; ++i) {
    devices.push_back(create_cuda_device("cuda:0#" + std::to_string(i), {0, i, 2}).value());
  }
  Device* const receiver = devices[1].get();
  LocalLinkOptions options;
  options.max_bytes = 64;
  const auto made = create_cuda_link(*devices[0], {&receiver, 1}, options, GpuTransport::kAuto);
  ASSERT_TRUE(made.ok()) << made.error().to_string();
  EXPECT_EQ(made->transport, GpuTransport::kPeer);
}

// Writes of GPU 0 into the memory of GPU 1 are said to be possible and get lost.
TEST(CudaLink, PeerAccessThatLiesIsNotUsedAndSaidSo) {
  simt::MachineOptions machine;
  machine.lost_writes = {{0, 1}};
  Stages stages("gg", GpuTransport::kAuto, machine);
  EXPECT_EQ(stages.made().transport, GpuTransport::kHost);
  ASSERT_EQ(stages.made().notes.size(), 1u);
  EXPECT_NE(stages.made().notes[0].find("GPU 0 may write into the memory of GPU 1"),
            std::string::npos);
  pass_messages(stages);
}

TEST(CudaLink, GoesThroughTheHostWithoutPeerAccess) {
  simt::MachineOptions machine;
  machine.peer_access = false;
  Stages stages("gg", GpuTransport::kAuto, machine);
  EXPECT_EQ(stages.made().transport, GpuTransport::kHost);
  pass_messages(stages);
}

TEST(CudaLink, PeerAccessThatIsDemandedAndMissingIsAnError) {
  simt::MachineOptions machine;
  machine.peer_access = false;
  simt::set_machine(machine);
  const auto devices = open_devices(2, 2);
  Device* const receiver = devices[1].get();
  const auto made = create_cuda_link(*devices[0], {&receiver, 1}, {}, GpuTransport::kPeer);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::kDeviceFailed);
}

// The sender's GPU gets to the message only when both hosts have been through their calls.
TEST(CudaLink, NoHostWaitsForAGpu) {
  for (const auto transport : {GpuTransport::kPeer, GpuTransport::kHost}) {
    Stages stages("gg", transport);
    std::promise<void> called;
    auto both_have_called = called.get_future();
    stages.run(
        [&](Device& device, Stream& stream) {
          Matrix matrix(device, stream, message(1), kRows, kColumns, kColumns);
          hold_up_until(stream, both_have_called);
          EXPECT_TRUE(stages.link().send(stream, matrix.x).ok());
          EXPECT_TRUE(stream.synchronize(kDeadlineUs).ok());
        },
        [&](int receiver, Device& device, Stream& stream) {
          Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
          EXPECT_TRUE(stages.link().receive(stream, receiver, matrix.x).ok());
          called.set_value();
          EXPECT_EQ(matrix.read(stream), message(1));
        });
  }
}

// What the sender's GPU computes late arrives late, and not as it was before.
TEST(CudaLink, AReceiverWaitsForTheSendersGpu) {
  for (const char* kinds : {"gg", "gc"}) {
    Stages stages(kinds);
    stages.run(
        [&](Device& device, Stream& stream) {
          Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
          hold_up(stream, 40);
          const auto numbers = message(1);
          stream.copy_to_device(matrix.x.data, numbers.data(), kRows * kColumns * 4);
          EXPECT_TRUE(stages.link().send(stream, matrix.x).ok());
          EXPECT_TRUE(stream.synchronize(kDeadlineUs).ok());
        },
        [&](int receiver, Device& device, Stream& stream) {
          Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
          EXPECT_TRUE(stages.link().receive(stream, receiver, matrix.x).ok());
          EXPECT_EQ(matrix.read(stream), message(1));
        });
  }
}

// A slot is written again only when the receiver's GPU, which is late, has taken what lies there.
TEST(CudaLink, TheSenderWaitsForTheReceiversGpu) {
  constexpr int kMessages = 4;
  for (const char* kinds : {"gg", "cg"}) {
    Stages stages(kinds);
    stages.run(
        [&](Device& device, Stream& stream) {
          std::vector<Matrix> matrices;
          for (int i = 0; i < kMessages; ++i) {
            matrices.emplace_back(device, stream, message(i), kRows, kColumns, kColumns);
          }
          for (const Matrix& matrix : matrices) {
            EXPECT_TRUE(stages.link().send(stream, matrix.x).ok());
          }
          EXPECT_TRUE(stream.synchronize(kDeadlineUs).ok());
        },
        [&](int receiver, Device& device, Stream& stream) {
          std::vector<Matrix> matrices;
          for (int i = 0; i < kMessages; ++i) {
            matrices.emplace_back(device, stream, message(9), kRows, kColumns, kColumns);
          }
          hold_up(stream, 40);
          for (const Matrix& matrix : matrices) {
            EXPECT_TRUE(stages.link().receive(stream, receiver, matrix.x).ok());
          }
          for (int i = 0; i < kMessages; ++i) {
            EXPECT_EQ(matrices[static_cast<std::size_t>(i)].read(stream), message(i));
          }
        });
  }
}

TEST(CudaLink, SaysWhoDidNothingUntilTheDeadline) {
  LocalLinkOptions options;
  options.deadline_us = 100'000;
  Stages stages("gg", GpuTransport::kAuto, {}, options);
  stages.run([](Device&, Stream&) {},
             [&](int receiver, Device& device, Stream& stream) {
               Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
               const Status status = stages.link().receive(stream, receiver, matrix.x);
               ASSERT_FALSE(status.ok());
               EXPECT_EQ(status.error().code, ErrorCode::kDeadline);
               EXPECT_NE(status.error().to_string().find("the stage before sent nothing"),
                         std::string::npos);
             });
}

// Those who wait for a call, and those who wait for a GPU.
TEST(CudaLink, AbortEndsWaits) {
  for (const bool has_sent : {false, true}) {
    Stages stages("gc");
    std::promise<void> aborted;
    auto heard = aborted.get_future();
    const std::int64_t began = monotonic_us();
    stages.run(
        [&](Device& device, Stream& stream) {
          Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
          hold_up_until(stream, heard);
          if (has_sent) {
            EXPECT_TRUE(stages.link().send(stream, matrix.x).ok());
          }
          std::this_thread::sleep_for(milliseconds(30));
          stages.link().abort(
              Error{ErrorCode::kDeviceFailed, "a GPU fell off the bus", {}, {}, {}});
        },
        [&](int receiver, Device& device, Stream& stream) {
          Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
          const Status status = stages.link().receive(stream, receiver, matrix.x);
          ASSERT_FALSE(status.ok());
          EXPECT_EQ(status.error().code, ErrorCode::kPeerLost);
          EXPECT_NE(status.error().to_string().find("fell off the bus"), std::string::npos);
          aborted.set_value();
        });
    EXPECT_LT(monotonic_us() - began, 15'000'000);
  }
}

TEST(CudaLink, AGpuThatFailsIsNamedAndToldToTheOthers) {
  Stages stages("gg");
  stages.run(
      [&](Device& device, Stream& stream) {
        Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
        EXPECT_TRUE(stream.synchronize(kDeadlineUs).ok());
        simt::inject_error(0, cudaErrorECCUncorrectable, 0);
        stream.add(matrix.x, matrix.x);
        EXPECT_FALSE(stream.synchronize(kDeadlineUs).ok());
        const Status status = stages.link().send(stream, matrix.x);
        ASSERT_FALSE(status.ok());
        EXPECT_EQ(status.error().code, ErrorCode::kDeviceFailed);
        EXPECT_NE(status.error().to_string().find("cuda:0"), std::string::npos);
      },
      [&](int receiver, Device& device, Stream& stream) {
        Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
        const Status status = stages.link().receive(stream, receiver, matrix.x);
        ASSERT_FALSE(status.ok());
        EXPECT_EQ(status.error().code, ErrorCode::kPeerLost);
      });
  simt::clear_errors();
}

TEST(CudaLink, RefusesMessagesOfAnotherShape) {
  Stages stages("gg");
  stages.run(
      [&](Device& device, Stream& stream) {
        Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
        EXPECT_TRUE(stages.link().send(stream, matrix.x).ok());
        EXPECT_TRUE(stream.synchronize(kDeadlineUs).ok());
      },
      [&](int receiver, Device& device, Stream& stream) {
        Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
        const Status status = stages.link().receive(stream, receiver, matrix.x.slice_rows(0, 2));
        ASSERT_FALSE(status.ok());
        EXPECT_EQ(status.error().code, ErrorCode::kInternal);
        EXPECT_NE(status.error().to_string().find("6 x 50"), std::string::npos);
      });
}

// Where a receiver's time goes: waiting for the sender's GPU is no moving.
TEST(CudaLink, CountsWhatGpusWaited) {
  Stages stages("gg");
  std::promise<void> called;
  auto has_called = called.get_future();
  stages.run(
      [&](Device& device, Stream& stream) {
        Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
        hold_up_until(stream, has_called);
        hold_up(stream, 100);
        EXPECT_TRUE(stages.link().send(stream, matrix.x).ok());
        EXPECT_TRUE(stream.synchronize(kDeadlineUs).ok());
        EXPECT_EQ(stages.link().stats(-1).sent_bytes, kRows * kColumns * 4);
      },
      [&](int receiver, Device& device, Stream& stream) {
        Matrix matrix(device, stream, message(0), kRows, kColumns, kColumns);
        EXPECT_TRUE(stages.link().receive(stream, receiver, matrix.x).ok());
        called.set_value();
        (void)matrix.read(stream);
        const CommStats stats = stages.link().stats(receiver);
        EXPECT_GT(stats.wait_seconds, 0.02);
        EXPECT_GT(stats.move_seconds, 0.0);
        EXPECT_LT(stats.move_seconds, stats.wait_seconds);
      });
}

}  // namespace
}  // namespace tandem
