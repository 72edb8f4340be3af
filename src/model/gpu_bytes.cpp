#include "model/gpu_bytes.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/checked.h"
#include "tensor/fragment_layout.h"
#include "tensor/gpu_memory.h"

namespace tandem {
namespace {

std::int64_t buffer_bytes(std::int64_t bytes) {
  return align_up(bytes, cuda::kBufferAlignment);
}

// One stack of matrices as it is kept; F32 in rows of the file, each from a multiple of 16 bytes.
std::int64_t matrix_bytes(ElementType type, std::int64_t experts, std::int64_t rows,
                          std::int64_t columns) {
  if (experts == 0 || rows == 0 || columns == 0) return 0;
  const std::int64_t bytes = type == ElementType::kF32
                                 ? rows * align_up<std::int64_t>(columns * 4, 16)
                                 : cuda::packed_bytes(type, rows, columns);
  return buffer_bytes(experts * bytes);
}

bool is_rope(TensorRole role) {
  return role == TensorRole::kRopeFactors || role == TensorRole::kRopeFactorsLong ||
         role == TensorRole::kRopeFactorsShort;
}

// Each segment of a shard is a buffer of its own. Vectors are float32 whatever the file's type is.
std::int64_t held_bytes(const TensorSpec& tensor, const Shard& shard) {
  const bool is_vector = tensor.rows == 1 && tensor.num_experts == 1;
  if (shard.kind != Shard::Kind::kSplit) {
    return is_vector ? buffer_bytes(tensor.columns * 4)
                     : matrix_bytes(tensor.type, tensor.num_experts, tensor.rows, tensor.columns);
  }
  std::int64_t total = 0;
  for (const Interval& part : shard.segments) {
    const std::int64_t size = part.size();
    switch (shard.axis) {
      case ShardAxis::kExperts:
        total += matrix_bytes(tensor.type, size, tensor.rows, tensor.columns);
        break;
      case ShardAxis::kRows:
        total += matrix_bytes(tensor.type, tensor.num_experts, size, tensor.columns);
        break;
      case ShardAxis::kColumns:
        total += is_vector ? buffer_bytes(size * 4)
                           : matrix_bytes(tensor.type, tensor.num_experts, tensor.rows, size);
        break;
    }
  }
  return total;
}

// The matrix products that one x is rounded for.
enum class Call : std::uint8_t { kHeads, kHeadsOut, kWide, kNarrow, kRouter, kOutput, kNone };

Call call_of(TensorRole role) {
  switch (role) {
    case TensorRole::kQuery:
    case TensorRole::kKey:
    case TensorRole::kValue:
    case TensorRole::kQueryKeyValue:
      return Call::kHeads;
    case TensorRole::kAttentionOutput:
      return Call::kHeadsOut;
    case TensorRole::kGate:
    case TensorRole::kUp:
    case TensorRole::kGateUp:
    case TensorRole::kExpertGate:
    case TensorRole::kExpertUp:
      return Call::kWide;
    case TensorRole::kDown:
    case TensorRole::kExpertDown:
      return Call::kNarrow;
    case TensorRole::kRouter:
      return Call::kRouter;
    case TensorRole::kOutput:
      return Call::kOutput;
    default:
      return Call::kNone;
  }
}

struct Rounded {
  bool forms[3] = {};
  std::int64_t columns = 0;
};
using Calls = std::map<std::pair<std::int32_t, Call>, Rounded>;

void add_call(Calls& calls, std::int32_t layer, Call call, ElementType type, std::int64_t columns) {
  if (type == ElementType::kF32) return;  // takes x as it is
  Rounded& rounded = calls[{layer, call}];
  rounded.forms[static_cast<int>(cuda::rounded_form_for(type))] = true;
  rounded.columns = std::max(rounded.columns, columns);
}

Calls calls_of(const ModelSpec& spec, const RankShard& rank) {
  Calls calls;
  for (const TensorSpec& tensor : spec.tensors) {
    const Call call = call_of(tensor.role);
    const Shard shard = shard_of(tensor, spec, rank);
    if (call == Call::kNone || shard_bytes(tensor, shard) == 0) continue;
    const bool cut = shard.kind == Shard::Kind::kSplit && shard.axis == ShardAxis::kColumns;
    add_call(calls, tensor.layer, call, tensor.type, cut ? shard.size() : tensor.columns);
  }
  const TensorSpec* embedding = spec.find(TensorRole::kTokenEmbedding);
  if (spec.tied_embeddings && rank.has_output && embedding != nullptr) {
    add_call(calls, -1, Call::kOutput, embedding->type, embedding->columns);
  }
  return calls;
}

std::int64_t rounding_bytes(const Rounded& rounded, std::int64_t rows) {
  std::int64_t bytes = 0;
  for (const auto form :
       {cuda::RoundedForm::kInt8, cuda::RoundedForm::kF16, cuda::RoundedForm::kBf16}) {
    if (!rounded.forms[static_cast<int>(form)]) continue;
    bytes += buffer_bytes(cuda::rounded_bytes(form, rows, rounded.columns));
  }
  return bytes;
}

// Pairs of tokens and experts, sorted and cut into tiles: three words a tile, one a pair.
std::int64_t grouping_bytes(std::int64_t pairs, std::int64_t experts) {
  const std::int64_t tiles = pairs / 8 + std::min(experts + 1, pairs);
  return buffer_bytes(12 * tiles + 4 + 4 * pairs);
}

std::int64_t attention_bytes(const ModelSpec& spec, const RankShard& rank,
                             const StepLimits& limits) {
  if (spec.attention.q_heads_per_kv_head() > cuda::kSplitRows) return 0;
  const std::int64_t tokens =
      std::min(limits.max_tokens, limits.max_sequences * cuda::kSplitTokens);
  return cuda::split_parts_bytes(tokens, rank.q_heads.size(),
                                 cuda::most_splits(limits.context_tokens), spec.attention.head_dim);
}

// An array of the host on the device: a page, or where that is too short twice what is wanted, and
// as much once more for those that it has outgrown.
std::int64_t staged_bytes(std::int64_t most) {
  constexpr std::int64_t kPage = 4096;
  return most <= kPage ? kPage : kPage + 2 * align_up(2 * most, kPage);
}

}  // namespace

std::int64_t gpu_weight_bytes_of(const ModelSpec& spec, const RankShard& rank) {
  const RopeSpec& rope = spec.attention.rope;
  std::int64_t total = buffer_bytes(rope.dims / 2 * 4);
  if (rope.local_base > 0.0) total *= 2;
  for (const TensorSpec& tensor : spec.tensors) {
    if (!is_rope(tensor.role)) total += held_bytes(tensor, shard_of(tensor, spec, rank));
  }
  const TensorSpec* embedding = spec.find(TensorRole::kTokenEmbedding);
  if (spec.tied_embeddings && rank.has_output && embedding != nullptr) {
    total += matrix_bytes(embedding->type, 1, rank.vocabulary.size(), embedding->columns);
  }
  return total;
}

std::int64_t gpu_kv_bytes_of(const ModelSpec& spec, const RankShard& rank, ElementType type,
                             std::int64_t num_tokens) {
  const std::int64_t all = kv_bytes_per_token(spec, rank, type) * num_tokens;
  const std::int64_t buffers = 2 * std::int64_t{rank.num_layers};
  return buffers == 0 ? 0 : buffers * buffer_bytes(all / buffers);
}

std::int64_t gpu_scratch_bytes_of(const ModelSpec& spec, const RankShard& rank,
                                  const StepLimits& limits) {
  const FeedForwardSpec& ffn = spec.feed_forward;
  const std::int64_t pairs = limits.max_tokens * std::max<std::int64_t>(1, ffn.num_experts_used);
  const std::int64_t groups = ffn.num_experts > 0 ? grouping_bytes(pairs, rank.experts.size()) : 0;
  std::int64_t most = attention_bytes(spec, rank, limits);
  for (const auto& [key, rounded] : calls_of(spec, rank)) {
    const Call call = key.second;
    const std::int64_t rows = call == Call::kOutput   ? limits.max_output_rows
                              : call == Call::kNarrow ? pairs
                                                      : limits.max_tokens;
    const bool is_sorted = call == Call::kWide || call == Call::kNarrow;
    most = std::max(most, rounding_bytes(rounded, rows) + (is_sorted ? groups : 0));
  }
  most = std::max(most, limits.max_tokens * ffn.num_experts * 4);
  const TensorSpec* embedding = spec.find(TensorRole::kTokenEmbedding);
  if (rank.has_embedding && embedding != nullptr) {
    most = std::max(most,
                    limits.max_tokens * bytes_of(embedding->type, embedding->columns).value_or(0));
  }
  return buffer_bytes(most);
}

std::int64_t gpu_compute_bytes_of(const ModelSpec& spec, const RankShard& rank,
                                  const StepLimits& limits) {
  constexpr std::int64_t kSequenceBytes = 16;  // beside its blocks and tokens, a word each
  const ActivationSizes sizes =
      activation_sizes_of(spec, rank, limits.max_tokens, limits.max_output_rows);
  const std::int64_t tables =
      kSequenceBytes * limits.max_sequences + 4 * (limits.max_tokens + limits.num_blocks);
  return sizes.total_bytes() + ActivationSizes::kNumBuffers * cuda::kBufferAlignment +
         gpu_scratch_bytes_of(spec, rank, limits) + staged_bytes(tables) +
         staged_bytes(8 * limits.max_tokens) + staged_bytes(4 * limits.max_output_rows);
}

}  // namespace tandem
