#include "app/bench/link_survey.h"

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "comm/communicator.h"
#include "comm/cuda/cuda_group.h"
#include "comm/cuda/cuda_link.h"
#include "comm/recordable.h"
#include "comm/staged/staged.h"
#include "device/device.h"
#include "device/step_recorder.h"
#include "machine/device_list.h"

namespace tandem {
namespace {

constexpr std::int64_t kSmallFloats = 16;       // 64 bytes
constexpr std::int64_t kLargeFloats = 1 << 20;  // 4 MiB
constexpr int kRounds = 5;
constexpr std::int64_t kDeadlineUs = 30'000'000;
// Of reductions, in one piece where the stream takes work so, as the layers of a decode step.
constexpr int kReductionsAtOnce = 64;
constexpr std::uint64_t kRecordingKey = 1;

// Repeats a measurement for about so long in each round.
constexpr double kRoundSeconds = 0.02;
constexpr int kMostMessages = 500;

// One side of a measurement between two ranks.
struct End {
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Buffer> memory;

  bool is_gpu() const { return device->info().kind == DeviceKind::kCuda; }
  MatrixView message(std::int64_t floats) {
    return {static_cast<float*>(memory->data()), 1, floats, floats};
  }
};

Result<std::unique_ptr<Device>> open_device(const MachineDevice& device) {
  if (device.kind == MachineDeviceKind::kCpu) {
    CpuDeviceOptions options;
    options.cores = {device.cores.front()};
    return create_cpu_device(device.id, options);
  }
  TANDEM_TRY(const auto specs, parse_device_list(device.id));
  CudaDeviceOptions options;
  options.gpu_index = specs.front().gpu_index;
  return create_cuda_device(device.id, options);
}

Result<End> open_end(const MachineDevice& device) {
  End end;
  TANDEM_TRY(end.device, open_device(device));
  if (end.is_gpu()) end.device->bind_thread();
  end.stream = end.device->create_stream();
  TANDEM_TRY(end.memory, end.device->allocate(kLargeFloats * 4));
  end.stream->fill_zero(end.memory->data(), kLargeFloats * 4);
  TANDEM_TRY_STATUS(end.stream->synchronize(kDeadlineUs));
  return end;
}

// Runs both sides on threads of their devices; seconds until the first is done.
Result<double> run_both(std::array<End, 2>& ends, const std::function<Status(int, End&)>& side) {
  std::array<Status, 2> outcome;
  double seconds = 0;
  const auto run = [&](int index) {
    End& end = ends[static_cast<std::size_t>(index)];
    end.device->bind_thread();
    Status& status = outcome[static_cast<std::size_t>(index)];
    const std::int64_t began = monotonic_ns();
    status = side(index, end);
    if (status.ok()) status = end.stream->synchronize(kDeadlineUs);
    if (index == 0) seconds = 1e-9 * static_cast<double>(monotonic_ns() - began);
  };
  std::thread other([&] { run(1); });
  std::thread first([&] { run(0); });
  first.join();
  other.join();
  for (const Status& status : outcome) TANDEM_TRY_STATUS(status);
  return seconds;
}

// Seconds of one of the times that `side` does what it is for: the best of several rounds, of as
// many times as fit into kRoundSeconds.
using Side = std::function<Status(int index, End& end, int times)>;
Result<double> best_seconds(std::array<End, 2>& ends, int least, const Side& side) {
  int times = least;
  double best = 0;
  for (int round = -1; round < kRounds; ++round) {
    TANDEM_TRY(const double seconds,
               run_both(ends, [&](int index, End& end) { return side(index, end, times); }));
    const double once = seconds / times;
    if (round < 0) {  // warms up
      const double fitting = std::clamp(kRoundSeconds / once, 1.0, double{kMostMessages});
      times = std::max(least, static_cast<int>(fitting) / least * least);
    } else if (round == 0 || once < best) {
      best = once;
    }
  }
  return best;
}

// A way from one end to the other.
struct Way {
  std::shared_ptr<StageLink> link;
  std::string transport;
};

Result<Way> open_way(End& from, End& to, std::int64_t max_bytes) {
  LocalLinkOptions options;
  options.max_bytes = max_bytes;
  options.deadline_us = kDeadlineUs;
  if (!from.is_gpu() && !to.is_gpu()) return Way{create_local_link(options), "memory"};
  Device* const receivers[] = {to.device.get()};
  TANDEM_TRY(CudaLink made,
             create_cuda_link(*from.device, receivers, options, GpuTransport::kAuto));
  return Way{std::move(made.link), made.transport == GpuTransport::kPeer ? "peer" : "host"};
}

// Seconds of a message of `floats` there and the same back.
Result<double> round_trip(std::array<End, 2>& ends, std::int64_t floats, std::string* transport) {
  TANDEM_TRY(const Way there, open_way(ends[0], ends[1], floats * 4));
  TANDEM_TRY(const Way back, open_way(ends[1], ends[0], floats * 4));
  *transport = there.transport;
  return best_seconds(ends, 1, [&](int index, End& end, int times) -> Status {
    const MatrixView message = end.message(floats);
    for (int i = 0; i < times; ++i) {
      if (index == 0) TANDEM_TRY_STATUS(there.link->send(*end.stream, message));
      if (index == 0) TANDEM_TRY_STATUS(back.link->receive(*end.stream, 0, message));
      if (index == 1) TANDEM_TRY_STATUS(there.link->receive(*end.stream, 0, message));
      if (index == 1) TANDEM_TRY_STATUS(back.link->send(*end.stream, message));
    }
    return {};
  });
}

// Seats of both ends, as the runtime makes them: GPUs among themselves, else through memory of the
// host.
Result<std::vector<std::unique_ptr<Communicator>>> open_group(std::array<End, 2>& ends,
                                                              std::int64_t max_bytes) {
  if (ends[0].is_gpu() && ends[1].is_gpu()) {
    CudaGroupOptions options;
    options.max_bytes = max_bytes;
    options.deadline_us = kDeadlineUs;
    options.measure_crossovers = true;
    Device* const devices[] = {ends[0].device.get(), ends[1].device.get()};
    TANDEM_TRY(CudaGroup group, create_cuda_group(devices, options));
    return std::move(group.seats);
  }
  LocalGroupOptions options;
  options.size = 2;
  options.max_bytes = max_bytes;
  options.deadline_us = kDeadlineUs;
  auto seats = create_local_group(options);
  for (std::size_t i = 0; i < 2; ++i) {
    if (ends[i].is_gpu()) seats[i] = make_staged(std::move(seats[i]), kDeadlineUs);
  }
  return seats;
}

Status reduce_at_once(Communicator& seat, End& end, std::int64_t floats) {
  const auto* recordable = dynamic_cast<const Recordable*>(&seat);
  auto* recorder = dynamic_cast<StepRecorder*>(end.stream.get());
  const bool records =
      recorder != nullptr && recordable != nullptr && recordable->can_be_recorded();
  if (records) recorder->begin_step(kRecordingKey);
  Status status;
  for (int i = 0; i < kReductionsAtOnce && status.ok(); ++i) {
    status = seat.all_reduce_sum(*end.stream, end.message(floats));
  }
  if (records) recorder->end_step();
  return status;
}

Result<double> all_reduce_seconds(std::array<End, 2>& ends, std::int64_t floats) {
  TANDEM_TRY(const auto seats, open_group(ends, floats * 4));
  return best_seconds(ends, kReductionsAtOnce, [&](int index, End& end, int times) -> Status {
    for (int i = 0; i < times; i += kReductionsAtOnce) {
      TANDEM_TRY_STATUS(reduce_at_once(*seats[static_cast<std::size_t>(index)], end, floats));
    }
    return {};
  });
}

}  // namespace

std::string_view words_for_transport(std::string_view transport) {
  if (transport == "peer") return "by peer access";
  return transport == "host" ? "through memory of the host" : "in shared memory";
}

Result<MeasuredLink> measure_link(const MachineDevice& a, const MachineDevice& b,
                                  std::int64_t hidden_size) {
  std::array<End, 2> ends;
  TANDEM_TRY(ends[0], open_end(a));
  TANDEM_TRY(ends[1], open_end(b));
  MeasuredLink link{a.id, b.id, {}, 0, 0, 0};
  TANDEM_TRY(const double small, round_trip(ends, kSmallFloats, &link.transport));
  TANDEM_TRY(const double large, round_trip(ends, kLargeFloats, &link.transport));
  TANDEM_TRY(const double reduce,
             all_reduce_seconds(ends, std::clamp<std::int64_t>(hidden_size, 1, kLargeFloats)));
  link.latency_us = 1e6 * small / 2;
  link.bandwidth_gbps = 1e-9 * 2 * static_cast<double>(kLargeFloats * 4) / large;
  link.all_reduce_us = 1e6 * reduce;
  return link;
}

}  // namespace tandem
