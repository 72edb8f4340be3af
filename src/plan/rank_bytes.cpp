#include "plan/rank_bytes.h"

#include "base/checked.h"
#include "tensor/gpu_memory.h"

namespace tandem {

bool is_gpu(std::string_view device) {
  return device.starts_with("cuda");
}

std::int64_t weights_bytes_on(std::string_view device, const ModelSpec& spec,
                              const RankShard& shard) {
  return is_gpu(device) ? gpu_weight_bytes_of(spec, shard) : weight_bytes_of(spec, shard);
}

std::int64_t kv_bytes_on(std::string_view device, const ModelSpec& spec, const RankShard& shard,
                         const KvPlan& kv) {
  const std::int64_t tokens = std::int64_t{kv.num_blocks} * kv.block_tokens;
  return is_gpu(device) ? gpu_kv_bytes_of(spec, shard, kv.type, tokens)
                        : kv_bytes_per_token(spec, shard, kv.type) * tokens;
}

StepLimits step_limits_of(const Plan& plan) {
  return {plan.micro_batch_tokens, plan.max_output_rows, plan.max_sequences, plan.context_tokens,
          plan.kv.num_blocks};
}

std::int64_t compute_bytes_on(std::string_view device, const ModelSpec& spec,
                              const RankShard& shard, const StepLimits& limits,
                              const RankExchange& exchange) {
  if (!is_gpu(device)) {
    return activation_sizes_of(spec, shard, limits.max_tokens, limits.max_output_rows)
        .total_bytes();
  }
  std::int64_t bytes = gpu_compute_bytes_of(spec, shard, limits);
  if (exchange.group_size > 1) bytes += cuda::kExchangeBytes;
  if (exchange.receives_from_gpu) {
    const std::int64_t message =
        limits.max_tokens * spec.hidden_size * static_cast<std::int64_t>(sizeof(float));
    bytes += cuda::kLinkSlots * align_up(message, cuda::kBufferAlignment);
  }
  return bytes;
}

}  // namespace tandem
