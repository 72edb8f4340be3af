#include "model/activation_sizes.h"
#include "plan/layout.h"

namespace tandem {

std::int64_t compute_bytes_of(const ModelSpec& spec, const RankShard& shard,
                              std::int32_t max_batch_tokens, std::int32_t max_output_rows) {
  return activation_sizes_of(spec, shard, max_batch_tokens, max_output_rows).total_bytes();
}

}  // namespace tandem
