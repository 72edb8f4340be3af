#include <algorithm>

#include "comm/cuda/meeting.h"
#include "comm/cuda/wire.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kUnitsPerThread = 2;  // a block more before a thread has more work than this

struct Range {
  std::int32_t begin, end;
};

// What block blockIdx.x of gridDim.x works on, the same on every rank.
__device__ Range part_of_block(std::int32_t count) {
  const auto blocks = static_cast<std::int64_t>(gridDim.x);
  const auto block = static_cast<std::int64_t>(blockIdx.x);
  return {static_cast<std::int32_t>(count * block / blocks),
          static_cast<std::int32_t>(count * (block + 1) / blocks)};
}

template <int kUnit>
__device__ float* unit_at(const Units& x, std::int32_t index) {
  const std::int32_t row = index / x.per_row;
  return x.data + static_cast<std::int64_t>(row) * x.row_stride + (index - row * x.per_row) * kUnit;
}

template <int kUnit>
__device__ void load_unit(const Units& x, std::int32_t index, float* numbers) {
  const float* from = unit_at<kUnit>(x, index);
  if (kUnit == 4 && x.is_aligned) {
    *reinterpret_cast<float4*>(numbers) = *reinterpret_cast<const float4*>(from);
  } else {
    for (int i = 0; i < kUnit; ++i) numbers[i] = from[i];
  }
}

template <int kUnit>
__device__ void store_unit(const Units& x, std::int32_t index, const float* numbers) {
  float* to = unit_at<kUnit>(x, index);
  if (kUnit == 4 && x.is_aligned) {
    *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(numbers);
  } else {
    for (int i = 0; i < kUnit; ++i) to[i] = numbers[i];
  }
}

// The sum of what all ranks wrote to slots from `inbox` on, in the order of ranks.
template <WireType kWire, int kUnit>
__device__ void add_slots(const std::byte* inbox, std::int64_t slot_bytes, int size,
                          std::int32_t index, float* sum) {
  using W = Wire<kWire, kUnit>;
  using Word = typename W::Word;
  W::unpack(load_shared(reinterpret_cast<const Word*>(inbox) + index), sum);
  for (int rank = 1; rank < size; ++rank) {
    alignas(16) float next[4];
    W::unpack(load_shared(reinterpret_cast<const Word*>(inbox + rank * slot_bytes) + index), next);
    for (int i = 0; i < kUnit; ++i) sum[i] += next[i];
  }
}

template <WireType kWire, int kUnit>
__global__ void one_shot_kernel(ReduceCall call) {
  using W = Wire<kWire, kUnit>;
  const Seats& seats = call.seats;
  const MoveWatch watch(call.terms);
  const Range part = part_of_block(call.x.count);
  const auto first = part.begin + static_cast<std::int32_t>(threadIdx.x);
  alignas(16) float numbers[4];
  for (std::int32_t i = first; i < part.end; i += kThreads) {
    load_unit<kUnit>(call.x, i, numbers);
    write_to_all(seats, call.inbox_offset + seats.rank * call.slot_bytes, i, W::pack(numbers));
  }
  if (!meet(seats, 0, call.sequence, call.terms)) return;
  const std::byte* inbox = seats.inboxes[seats.in_host_memory ? 0 : seats.rank] + call.inbox_offset;
  for (std::int32_t i = first; i < part.end; i += kThreads) {
    add_slots<kWire, kUnit>(inbox, call.slot_bytes, seats.size, i, numbers);
    store_unit<kUnit>(call.x, i, numbers);
  }
  watch.stop();
}

// The part of chunk `owner` that this block works on, in units of x.
__device__ Range part_of_chunk(const ReduceCall& call, int owner) {
  const std::int32_t length = chunk_units(call.x.count, call.seats.size);
  const std::int32_t begin = owner * length;
  const Range part = part_of_block(length);
  const auto within = [&](std::int32_t at) {
    return begin + at < call.x.count ? begin + at : call.x.count;
  };
  return {within(part.begin), within(part.end)};
}

template <WireType kWire, int kUnit>
__global__ void two_shot_kernel(ReduceCall call) {
  using W = Wire<kWire, kUnit>;
  using Word = typename W::Word;
  const Seats& seats = call.seats;
  const MoveWatch watch(call.terms);
  const std::int32_t length = chunk_units(call.x.count, seats.size);
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const std::int64_t sums = call.inbox_offset + seats.size * call.slot_bytes;
  alignas(16) float numbers[4];
  // To the owner of each chunk what this rank has of it.
  for (int owner = 0; owner < seats.size; ++owner) {
    const Range part = part_of_chunk(call, owner);
    std::byte* slot = seats.inboxes[owner] + call.inbox_offset + seats.rank * call.slot_bytes;
    for (std::int32_t i = part.begin + thread; i < part.end; i += kThreads) {
      load_unit<kUnit>(call.x, i, numbers);
      store_shared(reinterpret_cast<Word*>(slot) + (i - owner * length), W::pack(numbers));
    }
  }
  if (!meet(seats, 0, call.sequence, call.terms)) return;
  const Range own = part_of_chunk(call, seats.rank);
  for (std::int32_t i = own.begin + thread; i < own.end; i += kThreads) {
    const std::int32_t index = i - seats.rank * length;
    add_slots<kWire, kUnit>(seats.inboxes[seats.rank] + call.inbox_offset, call.slot_bytes,
                            seats.size, index, numbers);
    write_to_all(seats, sums + seats.rank * call.slot_bytes, index, W::pack(numbers));
  }
  if (!meet(seats, 1, call.sequence, call.terms)) return;
  // The own chunk too: it is the others' bits only after it went over the wire.
  for (int owner = 0; owner < seats.size; ++owner) {
    const Range part = part_of_chunk(call, owner);
    for (std::int32_t i = part.begin + thread; i < part.end; i += kThreads) {
      W::unpack(read_from_all<Word>(seats, sums + owner * call.slot_bytes, i - owner * length),
                numbers);
      store_unit<kUnit>(call.x, i, numbers);
    }
  }
  watch.stop();
}

// The same on every rank, as the parts of blocks depend on it.
LaunchShape shape_for(std::int64_t units) {
  constexpr std::int64_t kUnitsPerBlock = kThreads * kUnitsPerThread;
  const std::int64_t blocks =
      std::clamp<std::int64_t>((units + kUnitsPerBlock - 1) / kUnitsPerBlock, 1, kMaxBlocks);
  return {dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0};
}

template <WireType kWire>
cudaError_t start_one_shot(cudaStream_t stream, int unit, const ReduceCall& call) {
  const LaunchShape shape = shape_for(call.x.count);
  return unit == 4 ? launch(stream, one_shot_kernel<kWire, 4>, shape, call)
                   : launch(stream, one_shot_kernel<kWire, 1>, shape, call);
}

template <WireType kWire>
cudaError_t start_two_shot(cudaStream_t stream, int unit, const ReduceCall& call) {
  const LaunchShape shape = shape_for(chunk_units(call.x.count, call.seats.size));
  return unit == 4 ? launch(stream, two_shot_kernel<kWire, 4>, shape, call)
                   : launch(stream, two_shot_kernel<kWire, 1>, shape, call);
}

__global__ void gather_kernel(GatherCall call) {
  const Seats& seats = call.seats;
  const MoveWatch watch(call.terms);
  const std::int64_t first =
      call.begin + static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  const auto end_of = [&](int rank) {
    const std::int64_t all =
        std::int64_t{call.rows} * (call.offsets[rank + 1] - call.offsets[rank]);
    return all < call.end ? all : call.end;
  };
  const auto place = [&](int rank, std::int64_t i) {
    const std::int32_t columns = call.offsets[rank + 1] - call.offsets[rank];
    const std::int64_t row = i / columns;
    return call.data + row * call.row_stride + call.offsets[rank] + (i - row * columns);
  };
  for (std::int64_t i = first; i < end_of(seats.rank); i += step) {
    write_to_all(seats, call.inbox_offset + seats.rank * call.slot_bytes, i - call.begin,
                 __float_as_uint(*place(seats.rank, i)));
  }
  if (!meet(seats, 0, call.sequence, call.terms)) return;
  for (int rank = 0; rank < seats.size; ++rank) {
    if (rank == seats.rank) continue;
    for (std::int64_t i = first; i < end_of(rank); i += step) {
      *place(rank, i) = __uint_as_float(read_from_all<unsigned>(
          seats, call.inbox_offset + rank * call.slot_bytes, i - call.begin));
    }
  }
  watch.stop();
}

}  // namespace

cudaError_t reduce_one_shot(cudaStream_t stream, WireType wire, int unit, const ReduceCall& call) {
  if (wire == WireType::kF16) return start_one_shot<WireType::kF16>(stream, unit, call);
  if (wire == WireType::kBf16) return start_one_shot<WireType::kBf16>(stream, unit, call);
  return start_one_shot<WireType::kF32>(stream, unit, call);
}

cudaError_t reduce_two_shot(cudaStream_t stream, WireType wire, int unit, const ReduceCall& call) {
  if (wire == WireType::kF16) return start_two_shot<WireType::kF16>(stream, unit, call);
  if (wire == WireType::kBf16) return start_two_shot<WireType::kBf16>(stream, unit, call);
  return start_two_shot<WireType::kF32>(stream, unit, call);
}

cudaError_t gather_columns(cudaStream_t stream, const GatherCall& call) {
  return launch(stream, gather_kernel, shape_for((call.end - call.begin + 3) / 4), call);
}

}  // namespace tandem::cuda
