#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "model/model_spec.h"
#include "tensor/element_type.h"

namespace tandem {

// Random weights for a model of a given shape, the same for the same seed whatever the order in
// which they are asked for.
//
// A matrix is put together from runs of quantised blocks, drawn from a pool of normally distributed
// weights that were quantised once: many times faster than quantising each matrix, and every
// block is one that a real file could hold. Spreads are such that hidden states keep their size
// through the layers and logits have a standard deviation of about 2.5.
class SynthWeights {
 public:
  // spec.tensors must be filled. rope_factors: contents of rope_freqs.weight, may be empty.
  SynthWeights(const ModelSpec& spec, std::vector<float> rope_factors, std::uint64_t seed);

  // Fills `chunk` with the bytes of spec.tensors[tensor_index] from `offset_bytes` on.
  void fill(std::size_t tensor_index, std::int64_t offset_bytes, std::span<std::byte> chunk);

 private:
  // Mean and standard deviation of a tensor's weights.
  struct Spread {
    float mean = 0;
    float deviation = 0;
  };
  Spread spread_of(const TensorSpec& tensor) const;
  double residual_step() const;
  const std::vector<std::byte>& pool_of(ElementType type, float deviation);
  void fill_vector(std::size_t tensor_index, std::int64_t offset_bytes, std::span<std::byte> chunk);

  const ModelSpec& spec_;
  std::vector<float> rope_factors_;
  std::uint64_t seed_;
  std::map<std::pair<ElementType, float>, std::vector<std::byte>> pools_;
};

}  // namespace tandem
