#pragma once

#include <cstdint>

#include "model/model_spec.h"
#include "tensor/shard.h"

namespace tandem {

// Which part of a model one rank holds: some layers (its stage), and of each of them some heads,
// some of the feed-forward's width and some experts; at the end, some of the vocabulary.
// Intervals may be empty: a rank without heads contributes zeros to its layer's sum.
struct RankShard {
  std::int32_t first_layer = 0;
  std::int32_t num_layers = 0;
  bool has_embedding = true;  // the first stage
  bool has_output = true;     // the last stage, or every one (LayoutRequest::output_on_all_stages)
  Interval q_heads;
  // Every KV head that one of q_heads reads; neighbours may hold the same one.
  Interval kv_heads;
  Interval ffn;         // of each expert's width where there are experts
  Interval experts;     // empty for a dense model
  Interval vocabulary;  // rows of the output matrix

  bool operator==(const RankShard&) const = default;
};

// The shard of a rank that holds all of the model.
RankShard whole_model(const ModelSpec& spec);

// The KV heads that query heads `q_heads` read.
Interval kv_heads_of(const AttentionSpec& attention, Interval q_heads);

// `exact` columns widened to whole blocks of `type`. A row-parallel layer multiplies the added
// columns with zeros, so that any cut works with any block size.
Interval widen_to_blocks(ElementType type, Interval exact);

// What the rank holds of the tensor. Columns are widened to blocks (see above). Tensors of other
// stages are Split with no segments; the token embedding too, since it is read from the mapped
// file.
Shard shard_of(const TensorSpec& tensor, const ModelSpec& spec, const RankShard& rank);

// Bytes of that shard in the file's blocks.
std::int64_t shard_bytes(const TensorSpec& tensor, const Shard& shard);

// Bytes of all weights that the rank holds.
std::int64_t weight_bytes_of(const ModelSpec& spec, const RankShard& rank);

// Bytes of keys and values of one position over all layers of the rank.
// type: kF16, kF32 or kQ8_0.
std::int64_t kv_bytes_per_token(const ModelSpec& spec, const RankShard& rank, ElementType type);

}  // namespace tandem
