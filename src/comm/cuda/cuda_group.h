#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "comm/communicator.h"
#include "device/device.h"

namespace tandem {

// What travels between GPUs. Sums are made in float32 whatever the wire is; F16 and BF16 round
// every rank's part once, and in two-shot reductions the sum once more.
enum class WireType : std::uint8_t { kF32, kF16, kBf16 };

// By which memory GPUs reach each other: their own (peer access), or page-locked host memory.
enum class GpuTransport : std::uint8_t { kAuto, kPeer, kHost };

struct CudaGroupOptions {
  std::int64_t deadline_us = 30'000'000;  // of any wait for a peer
  WireType wire = WireType::kF32;
  // kAuto: one-shot for small messages, two-shot for larger ones; the largest by the ring of copy
  // engines, or by NCCL where it is there.
  ReduceAlgorithm algorithm = ReduceAlgorithm::kAuto;
  GpuTransport transport = GpuTransport::kAuto;
  // Find out at the start, with messages of up to max_bytes, from which sizes on an algorithm is
  // the faster one; else guessed. The bits of sums depend on the algorithm only where the wire is
  // not F32.
  bool measure_crossovers = false;
  std::int64_t max_bytes = std::int64_t{16} << 20;
  bool use_nccl = true;  // where it is installed and every rank has a GPU of its own
  // Sum beside the arithmetic of large steps (comm/overlapping.h): the matrices of a prefill in a
  // few parts, see overlap.h. overlap_rows: in parts of so many rows whatever they are; for tests.
  bool overlap = true;
  std::int64_t overlap_rows = 0;
  // A fault for tests and `bench`: every exchange by one-shot or two-shot takes this much longer.
  std::int64_t injected_delay_us = 0;
};

struct CudaGroup {
  std::vector<std::unique_ptr<Communicator>> seats;  // one a device, in their order
  GpuTransport transport = GpuTransport::kPeer;      // what was chosen
  std::vector<std::string> notes;                    // for the user: why not peer access
};

// Seats for ranks of this process that work on GPUs (made by create_cuda_device; several may share
// one). Collectives are kernels on the ranks' streams that wait for each other by flags: no call
// waits for a device, and they may be recorded in a graph. The seats are Overlapping, with a stream
// of their own on each GPU for sums beside arithmetic. What goes wrong in one (kPeerLost,
// kDeadline) is returned by the next call on the seat and by the stream's synchronize().
//
// At the start every pair of GPUs proves that what one writes into the other's memory arrives, in
// both directions, and the group reduces known numbers; peer access that lies is not used, and
// `notes` say so. Blocks for that, some milliseconds. kUnsupported: more than 32 ranks, or no CUDA
// in this build; kDeviceFailed where not even the way through host memory gives right sums.
Result<CudaGroup> create_cuda_group(std::span<Device* const> devices,
                                    const CudaGroupOptions& options);

}  // namespace tandem
