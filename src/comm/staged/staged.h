#pragma once

#include <memory>

#include "comm/communicator.h"

namespace tandem {

// Communicators and links for ranks whose memory the host cannot address, by way of host memory:
// the matrix is copied to the host, the inner communicator (whose ranks are threads) works on it
// there, and the result is copied back. The host waits for the device twice a collective: correct
// on every device and slow; what devices can do among themselves stands before it.
//
// Seats of one group may be mixed: a rank whose memory is the host's needs no such wrapping.
std::unique_ptr<Communicator> make_staged(std::unique_ptr<Communicator> inner,
                                          std::int64_t deadline_us);
// One end of a link for one rank; the link itself is shared.
std::shared_ptr<StageLink> make_staged(std::shared_ptr<StageLink> inner, std::int64_t deadline_us);

}  // namespace tandem
