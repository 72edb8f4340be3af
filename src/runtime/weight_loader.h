#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "device/device.h"
#include "model/rank_shard.h"
#include "nn/parameters.h"

namespace tandem {

class GgufFile;

struct LoadRequest {
  const ModelSpec& spec;
  const GgufFile& file;
  const RankShard& shard;
  std::int64_t context_tokens = 0;  // chooses between long and short RoPE factors
  // Called with bytes that have just been taken over; from several threads.
  std::function<void(std::int64_t bytes)> on_bytes;
};

// Reads this rank's shard out of the mapped file into `device`, and gives each page of the file
// back once it has been read, so that one copy of the weights is resident. Blocks. To be called on
// the rank's own thread.
Result<DecoderParameters> load_parameters(const LoadRequest& request, Device& device,
                                          Stream& stream);

}  // namespace tandem
