#pragma once

#include <cstdint>
#include <vector>

#include "model/model_spec.h"

namespace tandem {

// What a range of layers costs, summed. Bytes are those of the weights as stored.
struct RangeCosts {
  double bytes = 0;            // read for every token: attention, dense feed-forward, router
  double weights = 0;          // their number
  double attention_bytes = 0;  // of `bytes`
  double output_bytes = 0;     // of `bytes`: the output matrix and norm
  double output_weights = 0;   // of `weights`
  double expert_bytes = 0;     // of all experts
  double expert_weights = 0;
  double kv_bytes_full = 0;      // per position, of layers that see everything
  double kv_bytes_windowed = 0;  // per position, of layers with a window
  double full_layers = 0;        // that see everything
  double layers = 0;
};

// How much of some weights is of one type.
struct TypeShare {
  ElementType type = ElementType::kF32;
  double bytes = 0;    // of all, 0 to 1
  double weights = 0;  // of their number
};

// A model's costs layer by layer, summed from the left, so that any range is read in O(1).
class ModelCosts {
 public:
  // `kv_type`: of the cache. Costs of a spec without tensors are zero.
  ModelCosts(const ModelSpec& spec, ElementType kv_type);

  // Layers [first, first + count); with_output adds the output matrix and norm.
  RangeCosts range(std::int32_t first, std::int32_t count, bool with_output) const;
  // The same with a part of the output matrix (0 to 1).
  RangeCosts range_with(std::int32_t first, std::int32_t count, double output_share) const;
  RangeCosts whole() const { return range(0, num_layers_, true); }

  // The expected share of the experts that a batch of `tokens` touches when each picks k of E at
  // random: 1 - (1 - k/E)^tokens.
  double experts_touched(double tokens) const;
  double expert_share() const { return expert_share_; }  // k / E; 0 for a dense model

  std::int32_t num_layers() const { return num_layers_; }
  double hidden() const { return hidden_; }
  double width() const { return width_; }            // feed-forward width that one token passes
  double head_width() const { return head_width_; }  // query heads x head size
  double window() const { return window_; }
  bool quantised() const { return quantised_; }
  bool bf16() const { return bf16_; }  // most weights are bfloat16
  bool has_experts() const { return expert_share_ > 0; }
  double output_bytes() const { return output_.bytes; }
  // The types of the layers' weights, and of the output matrix.
  const std::vector<TypeShare>& layer_types() const { return layer_types_; }
  const std::vector<TypeShare>& output_types() const { return output_types_; }
  // Keys' and values' elements of a position in one layer.
  double kv_width() const { return kv_width_; }
  // What divisions round to: numbers of query heads, vocabulary rows and experts, the
  // feed-forward's width (of one expert where there are experts) and the blocks that it is cut at.
  std::int64_t num_q_heads() const { return num_q_heads_; }
  std::int64_t vocabulary() const { return vocabulary_; }
  std::int64_t num_experts() const { return num_experts_; }
  std::int64_t num_experts_used() const { return num_experts_used_; }
  std::int64_t ffn_width() const { return ffn_width_; }
  std::int64_t ffn_granule() const { return ffn_granule_; }
  // Layers without a cache that grows (window of one token: linear attention).
  bool has_linear_layers() const { return window_ == 1; }

 private:
  std::vector<RangeCosts> prefix_;  // [num_layers + 1]
  RangeCosts output_;
  std::vector<TypeShare> layer_types_;
  std::vector<TypeShare> output_types_;
  double kv_width_ = 0;
  std::int32_t num_layers_ = 0;
  double hidden_ = 0;
  double width_ = 0;
  double head_width_ = 0;
  double window_ = 0;
  double expert_share_ = 0;
  std::int64_t num_q_heads_ = 0;
  std::int64_t vocabulary_ = 0;
  std::int64_t num_experts_ = 0;
  std::int64_t num_experts_used_ = 0;
  std::int64_t ffn_width_ = 0;
  std::int64_t ffn_granule_ = 1;
  bool quantised_ = false;
  bool bf16_ = false;
};

}  // namespace tandem
