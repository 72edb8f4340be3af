#include "runtime/weight_loader.h"

#include <fmt/format.h>

#include "gguf/gguf_file.h"
#include "model/tensor_names.h"
#include "nn/rope_frequencies.h"
#include "runtime/row_reader.h"
#include "tensor/quantise.h"

namespace tandem {
namespace {

constexpr std::int64_t kLoadDeadlineUs = 60'000'000;

// A rectangle of a tensor: what one Weight is made of.
struct Region {
  Interval experts;
  Interval rows;
  Interval columns;

  bool empty() const { return experts.empty() || rows.empty() || columns.empty(); }
};

class Loader {
 public:
  Loader(const LoadRequest& request, Device& device, Stream& stream)
      : request_(request), device_(device), stream_(stream) {}

  Result<DecoderParameters> load() {
    DecoderParameters parameters;
    TANDEM_TRY_STATUS(load_rope(parameters));
    const std::int32_t first = request_.shard.first_layer;
    for (std::int32_t layer = first; layer < first + request_.shard.num_layers; ++layer) {
      TANDEM_TRY(LayerParameters loaded, load_layer(layer));
      parameters.layers.push_back(std::move(loaded));
    }
    if (request_.shard.has_output) TANDEM_TRY_STATUS(load_output(parameters));
    return parameters;
  }

 private:
  const GgufTensor* tensor_of(const TensorSpec& tensor) const {
    return request_.file.find_tensor(tensor.name);
  }

  // The region that a shard keeps of `tensor`; `segment`: which of its segments.
  Region region_of(const TensorSpec& tensor, std::size_t segment) const {
    Region region{{0, tensor.num_experts}, {0, tensor.rows}, {0, tensor.columns}};
    const Shard shard = shard_of(tensor, request_.spec, request_.shard);
    if (shard.kind != Shard::Kind::kSplit) return region;
    const Interval part =
        segment < shard.segments.size() ? shard.segments[segment] : Interval{0, 0};
    switch (shard.axis) {
      case ShardAxis::kExperts:
        region.experts = part;
        break;
      case ShardAxis::kRows:
        region.rows = part;
        break;
      case ShardAxis::kColumns:
        region.columns = part;
        break;
    }
    return region;
  }

  // Null where the region is empty.
  Result<WeightPtr> load_region(const TensorSpec& tensor, const Region& region) {
    if (region.empty()) return WeightPtr{};
    const GgufTensor* stored = tensor_of(tensor);
    const auto row_bytes = bytes_of(tensor.type, tensor.columns);
    const auto offset = bytes_of(tensor.type, region.columns.begin);
    const auto part = bytes_of(tensor.type, region.columns.size());
    if (stored == nullptr || !row_bytes || !offset || !part) {
      return malformed(request_.file.name(), "tensor " + tensor.name + " cannot be cut");
    }
    RowReader reader(request_.file, stored->data, {*row_bytes, *offset, *part, region.rows.size()});
    WeightSource source;
    source.type = tensor.type;
    source.num_experts = region.experts.size();
    source.rows = region.rows.size();
    source.columns = region.columns.size();
    source.row_bytes = [&](std::int64_t expert, std::int64_t row) {
      return reader.row((region.experts.begin + expert) * tensor.rows + region.rows.begin, row);
    };
    source.rows_done = [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      if (request_.on_bytes) request_.on_bytes((end - begin) * *part);
    };
    auto loaded = device_.load_weight(source);
    if (!loaded.ok()) return std::move(loaded).error().at("loading " + tensor.name);
    if (Status read = reader.status(); !read.ok()) {
      return std::move(read).error().at("loading " + tensor.name);
    }
    return loaded;
  }

  // Null where the model has no such tensor.
  Result<WeightPtr> load_matrix(TensorRole role, std::int32_t layer, std::size_t segment = 0) {
    const TensorSpec* tensor = request_.spec.find(role, layer);
    if (tensor == nullptr) return WeightPtr{};
    return load_region(*tensor, region_of(*tensor, segment));
  }

  Result<VectorParameter> upload(std::span<const float> values) {
    VectorParameter vector;
    if (values.empty()) return vector;
    const auto bytes = static_cast<std::int64_t>(values.size_bytes());
    TANDEM_TRY(vector.buffer, device_.allocate(bytes));
    stream_.copy_to_device(vector.buffer->data(), values.data(), bytes);
    TANDEM_TRY_STATUS(stream_.synchronize(kLoadDeadlineUs));
    return vector;
  }

  std::vector<float> read_vector(const TensorSpec& tensor, Interval columns) const {
    std::vector<float> all(static_cast<std::size_t>(tensor.columns));
    dequantise(tensor.type, tensor_of(tensor)->data, all);
    return {all.begin() + columns.begin, all.begin() + columns.end};
  }

  Result<VectorParameter> load_vector(TensorRole role, std::int32_t layer) {
    const TensorSpec* tensor = request_.spec.find(role, layer);
    if (tensor == nullptr) return VectorParameter{};
    const Region region = region_of(*tensor, 0);
    if (region.empty()) return VectorParameter{};
    return upload(read_vector(*tensor, region.columns));
  }

  Status load_attention(std::int32_t layer, LayerParameters& out) {
    TANDEM_TRY(out.attention_norm, load_vector(TensorRole::kAttentionNorm, layer));
    TANDEM_TRY(out.post_attention_norm, load_vector(TensorRole::kPostAttentionNorm, layer));
    if (request_.shard.q_heads.empty()) return {};
    if (request_.spec.attention.fused_qkv) {
      TANDEM_TRY(out.query, load_matrix(TensorRole::kQueryKeyValue, layer, 0));
      TANDEM_TRY(out.key, load_matrix(TensorRole::kQueryKeyValue, layer, 1));
      TANDEM_TRY(out.value, load_matrix(TensorRole::kQueryKeyValue, layer, 2));
    } else {
      TANDEM_TRY(out.query, load_matrix(TensorRole::kQuery, layer));
      TANDEM_TRY(out.key, load_matrix(TensorRole::kKey, layer));
      TANDEM_TRY(out.value, load_matrix(TensorRole::kValue, layer));
    }
    TANDEM_TRY(out.query_bias, load_vector(TensorRole::kQueryBias, layer));
    TANDEM_TRY(out.key_bias, load_vector(TensorRole::kKeyBias, layer));
    TANDEM_TRY(out.value_bias, load_vector(TensorRole::kValueBias, layer));
    TANDEM_TRY(out.query_norm, load_vector(TensorRole::kQueryNorm, layer));
    TANDEM_TRY(out.key_norm, load_vector(TensorRole::kKeyNorm, layer));
    TANDEM_TRY(out.attention_output, load_matrix(TensorRole::kAttentionOutput, layer));
    return {};
  }

  Status load_feed_forward(std::int32_t layer, LayerParameters& out) {
    const FeedForwardSpec& ffn = request_.spec.feed_forward;
    TANDEM_TRY(out.ffn_norm, load_vector(TensorRole::kFeedForwardNorm, layer));
    TANDEM_TRY(out.post_ffn_norm, load_vector(TensorRole::kPostFeedForwardNorm, layer));
    if (request_.shard.ffn.empty()) return {};
    if (ffn.num_experts > 0) {
      if (request_.shard.experts.empty()) return {};
      TANDEM_TRY(out.router, load_matrix(TensorRole::kRouter, layer));
      TANDEM_TRY(out.gate, load_matrix(TensorRole::kExpertGate, layer));
      TANDEM_TRY(out.up, load_matrix(TensorRole::kExpertUp, layer));
      TANDEM_TRY(out.down, load_matrix(TensorRole::kExpertDown, layer));
    } else if (ffn.fused_gate_up) {
      TANDEM_TRY(out.gate, load_matrix(TensorRole::kGateUp, layer, 0));
      TANDEM_TRY(out.up, load_matrix(TensorRole::kGateUp, layer, 1));
      TANDEM_TRY(out.down, load_matrix(TensorRole::kDown, layer));
    } else {
      TANDEM_TRY(out.gate, load_matrix(TensorRole::kGate, layer));
      TANDEM_TRY(out.up, load_matrix(TensorRole::kUp, layer));
      TANDEM_TRY(out.down, load_matrix(TensorRole::kDown, layer));
    }
    return {};
  }

  Result<LayerParameters> load_layer(std::int32_t layer) {
    LayerParameters loaded;
    TANDEM_TRY_STATUS(load_attention(layer, loaded));
    TANDEM_TRY_STATUS(load_feed_forward(layer, loaded));
    return loaded;
  }

  Status load_output(DecoderParameters& parameters) {
    TANDEM_TRY(parameters.output_norm, load_vector(TensorRole::kOutputNorm, -1));
    if (const TensorSpec* output = request_.spec.find(TensorRole::kOutput)) {
      TANDEM_TRY(parameters.output, load_region(*output, region_of(*output, 0)));
      return {};
    }
    const TensorSpec& embedding = *request_.spec.find(TensorRole::kTokenEmbedding);
    const Region rows{{0, 1}, request_.shard.vocabulary, {0, embedding.columns}};
    TANDEM_TRY(parameters.output, load_region(embedding, rows));
    return {};
  }

  // phi3's long and short factors: short while the context is no longer than trained for
  // (llama.cpp, llama_model::get_rope_factors).
  const TensorSpec* rope_factors() const {
    const ModelSpec& spec = request_.spec;
    if (const TensorSpec* factors = spec.find(TensorRole::kRopeFactors)) return factors;
    const bool is_long = request_.context_tokens > spec.attention.rope.original_context_tokens;
    return spec.find(is_long ? TensorRole::kRopeFactorsLong : TensorRole::kRopeFactorsShort);
  }

  Status load_rope(DecoderParameters& parameters) {
    const RopeSpec& rope = request_.spec.attention.rope;
    std::vector<float> factors;
    if (const TensorSpec* tensor = rope_factors()) {
      factors = read_vector(*tensor, {0, tensor->columns});
    }
    const RopeFrequencies all = rope_frequencies(rope, factors, false);
    TANDEM_TRY(parameters.rope_frequencies, upload(all.inverse));
    parameters.rope_magnitude = all.magnitude;
    if (rope.local_base <= 0.0) return {};
    const RopeFrequencies local = rope_frequencies(rope, factors, true);
    TANDEM_TRY(parameters.local_rope_frequencies, upload(local.inverse));
    parameters.local_rope_magnitude = local.magnitude;
    return {};
  }

  const LoadRequest& request_;
  Device& device_;
  Stream& stream_;
};

}  // namespace

Result<DecoderParameters> load_parameters(const LoadRequest& request, Device& device,
                                          Stream& stream) {
  return Loader(request, device, stream).load();
}

}  // namespace tandem
