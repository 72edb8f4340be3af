#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device/device.h"
#include "model/rank_shard.h"

namespace tandem {

// The pages of keys and values of one rank's layers and heads. Which sequence owns which block is
// the engine's business: block numbers mean the same on every rank and layer.
class KvCache {
 public:
  struct Geometry {
    ElementType type = ElementType::kF16;
    std::int32_t num_blocks = 0;
    std::int32_t block_tokens = 0;
  };

  // Blocks. Contents are undefined until stored to.
  static Result<KvCache> create(Device& device, const ModelSpec& spec, const RankShard& shard,
                                const Geometry& geometry);

  // layer_index: within the stage.
  KvView layer(std::int32_t layer_index) const;
  std::int64_t size_bytes() const;

 private:
  struct Layer {
    std::unique_ptr<Buffer> k;
    std::unique_ptr<Buffer> v;
  };

  KvView shape_;  // without addresses
  std::vector<Layer> layers_;
};

}  // namespace tandem
