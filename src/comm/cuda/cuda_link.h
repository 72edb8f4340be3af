#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/cuda/cuda_group.h"

namespace tandem {

struct CudaLink {
  std::shared_ptr<StageLink> link;
  GpuTransport transport = GpuTransport::kPeer;  // what was chosen
  std::vector<std::string> notes;                // for the user: what speaks against peer access
};

// A link between stages of which at least one rank that takes part is on a GPU (made by
// create_cuda_device()). `sender`: the device of the stage's first rank; `receivers`: of every rank
// of the next stage. Nobody waits for a GPU in send() and receive(): copies and events order the
// streams among themselves, and the host waits only for the calls of the other ranks (and an end of
// cores for the GPU's copy). The link is a DeferredArrival.
//
// kPeer: the sender's copy engine writes into slots in the receivers' memory (options.num_slots
// messages of options.max_bytes on each, allocated from the receiver's device). Only between GPUs
// that prove at the start, some milliseconds, that what is written arrives.
// kHost: through slots in page-locked memory of the host, into which the sender writes once.
// kAuto: kPeer where it may be, else kHost. kUnsupported: no GPU among them, or no CUDA in this
// build; kDeviceFailed: kPeer was demanded and cannot be.
Result<CudaLink> create_cuda_link(Device& sender, std::span<Device* const> receivers,
                                  const LocalLinkOptions& options, GpuTransport transport);

}  // namespace tandem
