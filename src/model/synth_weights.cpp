#include "model/synth_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "tensor/quantise.h"

namespace tandem {
namespace {

constexpr std::int64_t kPoolElements = 1 << 18;
constexpr std::int64_t kRunElements = 256;  // whole blocks of every type
constexpr double kLogitDeviation = 2.5;
// Root mean square of silu(a) * b, and nearly that of gelu(a) * b, for standard normal a and b.
constexpr double kGatedRms = 0.6;

// A well mixed 64-bit number for each pair (Steele et al.: Fast splittable pseudorandom number
// generators, the finaliser of SplitMix64).
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t z = a + 0x9e3779b97f4a7c15 * (b + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Nearly normal with mean 0 and deviation 1: the sum of four uniform numbers (Irwin-Hall), exact
// integers up to the last step and so the same on every machine.
float normal_from(std::uint64_t bits) {
  const auto sum = static_cast<std::int64_t>((bits & 0xffff) + ((bits >> 16) & 0xffff) +
                                             ((bits >> 32) & 0xffff) + (bits >> 48));
  // Mean 4 * 65535 / 2, variance 4 * (65536^2 - 1) / 12.
  return static_cast<float>(2 * sum - 4 * 65535) * (0.5f / 37837.2f);
}

}  // namespace

SynthWeights::SynthWeights(const ModelSpec& spec, std::vector<float> rope_factors,
                           std::uint64_t seed)
    : spec_(spec), rope_factors_(std::move(rope_factors)), seed_(seed) {}

// What each of the 2 * layers sums into the hidden state adds to it, root mean square. With tied
// embeddings the hidden state must outgrow the token that it began with, for that token's own
// logit is kLogitDeviation^2 * embedding_scale / (size of the hidden state), and would win always.
double SynthWeights::residual_step() const {
  const double final_size = spec_.tied_embeddings ? 2.0 * spec_.embedding_scale : 1.0;
  return final_size / std::sqrt(2.0 * spec_.num_layers);
}

SynthWeights::Spread SynthWeights::spread_of(const TensorSpec& tensor) const {
  using enum TensorRole;
  const double keep_size = 1.0 / std::sqrt(static_cast<double>(tensor.columns));
  const double step = spec_.has_post_norms ? 1.0 : residual_step();
  const auto spread = [](double mean, double deviation) {
    return Spread{static_cast<float>(mean), static_cast<float>(deviation)};
  };
  switch (tensor.role) {
    case kTokenEmbedding:
      return spread(0, spec_.tied_embeddings ? kLogitDeviation * keep_size : 1.0);
    case kOutput:
      return spread(0, kLogitDeviation * keep_size);
    case kAttentionOutput:
      return spread(0, step * keep_size);
    case kDown:
    case kExpertDown:
      return spread(0, step * keep_size / kGatedRms);
    case kPostAttentionNorm:
    case kPostFeedForwardNorm:
      return spread(residual_step(), 0.1 * residual_step());
    case kQueryBias:
    case kKeyBias:
    case kValueBias:
      return spread(0, 0.1);
    case kAttentionNorm:
    case kFeedForwardNorm:
    case kOutputNorm:
    case kQueryNorm:
    case kKeyNorm:
      return spread(1, 0.1);
    default:
      return spread(0, keep_size);
  }
}

const std::vector<std::byte>& SynthWeights::pool_of(ElementType type, float deviation) {
  std::vector<std::byte>& pool = pools_[{type, deviation}];
  if (!pool.empty()) return pool;
  std::vector<float> values(kPoolElements);
  const std::uint64_t seed =
      mix(mix(seed_, static_cast<std::uint64_t>(type)), std::bit_cast<std::uint32_t>(deviation));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = deviation * normal_from(mix(seed, i));
  pool.resize(static_cast<std::size_t>(*bytes_of(type, kPoolElements)));
  quantise(type, values, pool);
  return pool;
}

void SynthWeights::fill_vector(std::size_t tensor_index, std::int64_t offset_bytes,
                               std::span<std::byte> chunk) {
  const TensorSpec& tensor = spec_.tensors[tensor_index];
  const Spread spread = spread_of(tensor);
  const std::uint64_t seed = mix(seed_, tensor_index);
  for (std::size_t at = 0; at + sizeof(float) <= chunk.size(); at += sizeof(float)) {
    const std::size_t i = (static_cast<std::size_t>(offset_bytes) + at) / sizeof(float);
    const float value = tensor.role == TensorRole::kRopeFactors
                            ? rope_factors_[i]
                            : spread.mean + spread.deviation * normal_from(mix(seed, i));
    std::memcpy(chunk.data() + at, &value, sizeof value);
  }
}

void SynthWeights::fill(std::size_t tensor_index, std::int64_t offset_bytes,
                        std::span<std::byte> chunk) {
  const TensorSpec& tensor = spec_.tensors[tensor_index];
  if (tensor.rows == 1 && tensor.type == ElementType::kF32)
    return fill_vector(tensor_index, offset_bytes, chunk);

  const std::vector<std::byte>& pool = pool_of(tensor.type, spread_of(tensor).deviation);
  const ElementTypeTraits& traits = traits_of(tensor.type);
  const auto run_bytes = static_cast<std::uint64_t>(*bytes_of(tensor.type, kRunElements));
  const std::uint64_t num_starts = (kPoolElements - kRunElements) / traits.block_elements + 1;
  const std::uint64_t seed = mix(seed_, tensor_index);
  auto offset = static_cast<std::uint64_t>(offset_bytes);
  while (!chunk.empty()) {  // a chunk may begin and end within a run
    const std::uint64_t start =
        mix(seed, offset / run_bytes) % num_starts * static_cast<std::uint64_t>(traits.block_bytes);
    const std::uint64_t within = offset % run_bytes;
    const std::size_t count = std::min<std::size_t>(run_bytes - within, chunk.size());
    std::memcpy(chunk.data(), pool.data() + start + within, count);
    chunk = chunk.subspan(count);
    offset += count;
  }
}

}  // namespace tandem
