#include "nn/kv_cache.h"

#include "base/check.h"

namespace tandem {

Result<KvCache> KvCache::create(Device& device, const ModelSpec& spec, const RankShard& shard,
                                const Geometry& geometry) {
  KvCache cache;
  cache.shape_.type = geometry.type;
  cache.shape_.num_blocks = geometry.num_blocks;
  cache.shape_.block_tokens = geometry.block_tokens;
  cache.shape_.num_kv_heads = static_cast<std::int32_t>(shard.kv_heads.size());
  cache.shape_.head_dim = spec.attention.head_dim;
  const std::int64_t per_token = kv_bytes_per_token(spec, shard, geometry.type);
  const std::int64_t all = per_token * geometry.num_blocks * geometry.block_tokens;
  const std::int64_t side_bytes = all / (2 * std::int64_t{shard.num_layers});
  cache.layers_.resize(static_cast<std::size_t>(shard.num_layers));
  if (side_bytes == 0) return cache;
  for (Layer& layer : cache.layers_) {
    TANDEM_TRY(layer.k, device.allocate(side_bytes));
    TANDEM_TRY(layer.v, device.allocate(side_bytes));
  }
  return cache;
}

KvView KvCache::layer(std::int32_t layer_index) const {
  const Layer& layer = layers_.at(static_cast<std::size_t>(layer_index));
  KvView view = shape_;
  view.k = layer.k ? layer.k->data() : nullptr;
  view.v = layer.v ? layer.v->data() : nullptr;
  return view;
}

std::int64_t KvCache::size_bytes() const {
  std::int64_t total = 0;
  for (const Layer& layer : layers_) {
    if (layer.k) total += layer.k->size_bytes() + layer.v->size_bytes();
  }
  return total;
}

}  // namespace tandem
