#include "model/tensor_names.h"

#include <fmt/format.h>

namespace tandem {
namespace {

std::string_view stem_of(TensorRole role) {
  switch (role) {
    case TensorRole::kTokenEmbedding:
      return "token_embd.weight";
    case TensorRole::kOutputNorm:
      return "output_norm.weight";
    case TensorRole::kOutput:
      return "output.weight";
    case TensorRole::kRopeFactors:
      return "rope_freqs.weight";
    case TensorRole::kRopeFactorsLong:
      return "rope_factors_long.weight";
    case TensorRole::kRopeFactorsShort:
      return "rope_factors_short.weight";
    case TensorRole::kAttentionNorm:
      return "attn_norm.weight";
    case TensorRole::kQuery:
      return "attn_q.weight";
    case TensorRole::kKey:
      return "attn_k.weight";
    case TensorRole::kValue:
      return "attn_v.weight";
    case TensorRole::kQueryKeyValue:
      return "attn_qkv.weight";
    case TensorRole::kQueryBias:
      return "attn_q.bias";
    case TensorRole::kKeyBias:
      return "attn_k.bias";
    case TensorRole::kValueBias:
      return "attn_v.bias";
    case TensorRole::kQueryNorm:
      return "attn_q_norm.weight";
    case TensorRole::kKeyNorm:
      return "attn_k_norm.weight";
    case TensorRole::kAttentionOutput:
      return "attn_output.weight";
    case TensorRole::kPostAttentionNorm:
      return "post_attention_norm.weight";
    case TensorRole::kFeedForwardNorm:
      return "ffn_norm.weight";
    case TensorRole::kGate:
      return "ffn_gate.weight";
    case TensorRole::kUp:
    case TensorRole::kGateUp:
      return "ffn_up.weight";
    case TensorRole::kDown:
      return "ffn_down.weight";
    case TensorRole::kPostFeedForwardNorm:
      return "post_ffw_norm.weight";
    case TensorRole::kRouter:
      return "ffn_gate_inp.weight";
    case TensorRole::kExpertGate:
      return "ffn_gate_exps.weight";
    case TensorRole::kExpertUp:
      return "ffn_up_exps.weight";
    case TensorRole::kExpertDown:
      return "ffn_down_exps.weight";
  }
  return "";
}

}  // namespace

bool is_layer_role(TensorRole role) {
  switch (role) {
    case TensorRole::kTokenEmbedding:
    case TensorRole::kOutputNorm:
    case TensorRole::kOutput:
    case TensorRole::kRopeFactors:
    case TensorRole::kRopeFactorsLong:
    case TensorRole::kRopeFactorsShort:
      return false;
    default:
      return true;
  }
}

std::string tensor_name(TensorRole role, std::int32_t layer) {
  if (!is_layer_role(role)) return std::string(stem_of(role));
  return fmt::format("blk.{}.{}", layer, stem_of(role));
}

}  // namespace tandem
