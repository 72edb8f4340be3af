#include "comm/cuda/crossovers.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <thread>

#include "base/clock.h"
#include "comm/cuda/gpu_floats.h"

namespace tandem::cuda {
namespace {

constexpr std::int64_t kDeadlineUs = 10'000'000;  // of reductions that are timed
constexpr auto kFloatBytes = static_cast<std::int64_t>(sizeof(float));
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// Calls body(rank) for every rank, each on its own thread: some ways of reducing wait for the calls
// of other ranks. The first error.
Status on_every_rank(std::size_t size, const std::function<Status(std::size_t)>& body) {
  std::vector<Status> outcomes(size);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] { outcomes[rank] = body(rank); });
  }
  for (std::thread& thread : threads) thread.join();
  for (Status& outcome : outcomes) TANDEM_TRY_STATUS(std::move(outcome));
  return {};
}

// Waits for the stream. What does not end is made to: NCCL's kernels have no deadline of their own,
// and the stream's end would wait for them.
Status finish(CudaCommunicator& seat, Stream& stream, std::int64_t deadline_us) {
  Status status = stream.synchronize(deadline_us);
  if (!status.ok()) seat.abort(status.error());
  return status;
}

// Whole numbers up to 4: their sums over 32 ranks are exact in 8 bits.
float number_of(std::size_t rank, std::size_t index) {
  return static_cast<float>(static_cast<int>((index * 7 + rank * 5 + index / 251) % 9) - 4);
}

Result<bool> rank_is_right(CudaCommunicator& seat, Device& device, std::size_t rank,
                           std::int64_t rows, std::int64_t columns, std::int64_t deadline_us) {
  const auto count = static_cast<std::size_t>(rows * columns);
  std::vector<float> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = number_of(rank, i);
  const std::int64_t bytes = rows * columns * kFloatBytes;
  device.bind_thread();
  GpuFloats buffer;
  TANDEM_TRY(float* const memory, buffer.at_least(rows * columns));
  const auto stream = device.create_stream();
  stream->copy_to_device(memory, numbers.data(), bytes);
  TANDEM_TRY_STATUS(seat.all_reduce_sum(*stream, dense(memory, rows, columns)));
  stream->copy_to_host(numbers.data(), memory, bytes);
  TANDEM_TRY_STATUS(finish(seat, *stream, deadline_us));
  for (std::size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int other = 0; other < seat.size(); ++other) {
      sum += number_of(static_cast<std::size_t>(other), i);
    }
    if (numbers[i] != sum) return false;
  }
  return true;
}

// Seconds that one reduction of a dense row takes, as one rank sees it.
Result<double> time_on_rank(CudaCommunicator& seat, Device& device, std::int64_t bytes) {
  constexpr int kWarmUps = 2, kRepetitions = 8;
  device.bind_thread();
  GpuFloats buffer;
  TANDEM_TRY(float* const memory, buffer.at_least(bytes / kFloatBytes));
  const auto stream = device.create_stream();
  stream->fill_zero(memory, bytes);
  const MatrixView x = dense(memory, 1, bytes / kFloatBytes);
  for (int i = 0; i < kWarmUps; ++i) TANDEM_TRY_STATUS(seat.all_reduce_sum(*stream, x));
  TANDEM_TRY_STATUS(finish(seat, *stream, kDeadlineUs));
  TANDEM_TRY_STATUS(seat.barrier());
  const std::int64_t began = monotonic_ns();
  for (int i = 0; i < kRepetitions; ++i) TANDEM_TRY_STATUS(seat.all_reduce_sum(*stream, x));
  TANDEM_TRY_STATUS(finish(seat, *stream, kDeadlineUs));
  return 1e-9 * static_cast<double>(monotonic_ns() - began) / kRepetitions;
}

// The slowest rank's.
Result<double> time_of(std::span<CudaCommunicator* const> seats, std::span<Device* const> devices,
                       std::int64_t bytes) {
  std::vector<double> seconds(seats.size());
  Status status = on_every_rank(seats.size(), [&](std::size_t rank) -> Status {
    TANDEM_TRY(seconds[rank], time_on_rank(*seats[rank], *devices[rank], bytes));
    return {};
  });
  if (!status.ok()) return status.error();
  return *std::max_element(seconds.begin(), seconds.end());
}

// The smallest of the sizes from which on `slower_start` is never behind `faster_start`.
Result<std::int64_t> crossover(std::span<CudaCommunicator* const> seats,
                               std::span<Device* const> devices,
                               std::span<const std::int64_t> sizes, const Crossovers& small,
                               const Crossovers& large) {
  std::int64_t from = kNever;
  for (auto size = sizes.rbegin(); size != sizes.rend(); ++size) {
    double seconds[2];
    for (int i = 0; i < 2; ++i) {
      for (CudaCommunicator* seat : seats) seat->set_crossovers(i == 0 ? small : large);
      TANDEM_TRY(seconds[i], time_of(seats, devices, *size));
    }
    if (seconds[1] >= seconds[0]) break;
    from = *size;
  }
  return from;
}

}  // namespace

Result<bool> sums_are_right(std::span<CudaCommunicator* const> seats,
                            std::span<Device* const> devices, std::int64_t deadline_us) {
  std::vector<char> right(seats.size());
  // Rows that are no whole number of units, and several pieces of the ring.
  for (const auto& [rows, columns] :
       {std::pair<std::int64_t, std::int64_t>{3, 1001}, {2, 70'000}}) {
    const auto on_rank = [&, rows = rows, columns = columns](std::size_t rank) -> Status {
      TANDEM_TRY(right[rank],
                 rank_is_right(*seats[rank], *devices[rank], rank, rows, columns, deadline_us));
      return {};
    };
    TANDEM_TRY_STATUS(on_every_rank(seats.size(), on_rank));
    if (std::count(right.begin(), right.end(), 0) > 0) return false;
  }
  return true;
}

Result<Crossovers> measure_crossovers(std::span<CudaCommunicator* const> seats,
                                      std::span<Device* const> devices, std::int64_t max_bytes) {
  constexpr std::int64_t kSmall[] = {16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10};
  constexpr std::int64_t kLarge[] = {1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20};
  const auto up_to_max = [max_bytes](std::span<const std::int64_t> sizes) {
    return sizes.first(static_cast<std::size_t>(
        std::upper_bound(sizes.begin(), sizes.end(), max_bytes) - sizes.begin()));
  };
  Crossovers found;
  TANDEM_TRY(found.two_shot,
             crossover(seats, devices, up_to_max(kSmall), {kNever, kNever}, {0, kNever}));
  TANDEM_TRY(found.ring, crossover(seats, devices, up_to_max(kLarge), {0, kNever}, {0, 0}));
  // Sizes beyond those tried: two-shot moves less, and needs no more memory.
  found.two_shot = std::min(found.two_shot, kSmall[std::size(kSmall) - 1] + 1);
  spdlog::info(
      "reductions between GPUs: two-shot from {} bytes on, {}", found.two_shot,
      found.ring == kNever ? "never the ring" : "the ring from " + std::to_string(found.ring));
  return found;
}

}  // namespace tandem::cuda
