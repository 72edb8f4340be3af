#include "server/native/rerank_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gguf/gguf_file.h"
#include "tensor/quantise.h"

namespace tandem {
namespace {

std::vector<float> floats_of(const GgufTensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.num_elements()));
  dequantise(tensor.type, tensor.data, values);
  return values;
}

}  // namespace

Result<RerankHead::Layer> RerankHead::read_layer(const GgufFile& file, const std::string& name,
                                                 std::int64_t inputs) {
  Layer layer;
  const GgufTensor* weights = file.find_tensor(name + ".weight");
  if (weights == nullptr) return layer;
  if (weights->columns() != inputs) {
    return malformed(name + ".weight", "the head does not fit the model",
                     fmt::format("{} columns", inputs), std::to_string(weights->columns()));
  }
  layer.inputs = static_cast<std::size_t>(inputs);
  layer.weights = floats_of(*weights);
  if (const GgufTensor* bias = file.find_tensor(name + ".bias")) {
    if (bias->num_elements() != weights->rows()) {
      return malformed(name + ".bias", "the head does not fit the model",
                       std::to_string(weights->rows()), std::to_string(bias->num_elements()));
    }
    layer.bias = floats_of(*bias);
  }
  return layer;
}

Result<std::unique_ptr<const RerankHead>> RerankHead::from_gguf(const GgufFile& file,
                                                                std::int64_t hidden_size) {
  auto head = std::make_unique<RerankHead>();
  TANDEM_TRY(head->inner_, read_layer(file, "cls", hidden_size));
  const auto between = head->inner_.weights.size() / std::max<std::size_t>(1, head->inner_.inputs);
  const std::int64_t inputs =
      head->inner_.weights.empty() ? hidden_size : static_cast<std::int64_t>(between);
  TANDEM_TRY(head->output_, read_layer(file, "cls.output", inputs));
  if (head->inner_.weights.empty() && head->output_.weights.empty()) {
    return std::unique_ptr<const RerankHead>();
  }
  TANDEM_TRY(const auto architecture, file.get_string_or("general.architecture", ""));
  head->has_softmax_ = architecture == "qwen3";
  TANDEM_TRY(const auto text, file.get_string_or("tokenizer.chat_template.rerank", ""));
  head->template_ = text;
  return std::unique_ptr<const RerankHead>(std::move(head));
}

std::vector<float> RerankHead::Layer::apply(std::span<const float> x) const {
  std::vector<float> result(weights.size() / inputs);
  for (std::size_t row = 0; row < result.size(); ++row) {
    double sum = bias.empty() ? 0.0 : double(bias[row]);
    for (std::size_t i = 0; i < inputs; ++i)
      sum += double(weights[row * inputs + i]) * double(x[i]);
    result[row] = static_cast<float>(sum);
  }
  return result;
}

float RerankHead::score(std::span<const float> hidden) const {
  std::vector<float> x(hidden.begin(), hidden.end());
  if (!inner_.weights.empty()) {
    x = inner_.apply(x);
    for (float& value : x) value = std::tanh(value);
  }
  if (!output_.weights.empty()) x = output_.apply(x);
  if (!has_softmax_) return x[0];
  const float largest = *std::ranges::max_element(x);
  double sum = 0;
  for (const float value : x) sum += std::exp(double(value - largest));
  return static_cast<float>(std::exp(double(x[0] - largest)) / sum);
}

std::string RerankHead::prompt(const std::string& query, const std::string& document) const {
  // In one pass: what a text spells is not looked at again.
  constexpr std::string_view kQuery = "{query}";
  constexpr std::string_view kDocument = "{document}";
  std::string text;
  for (std::size_t at = 0; at < template_.size();) {
    const std::string_view rest = std::string_view(template_).substr(at);
    if (rest.starts_with(kQuery)) {
      text += query;
      at += kQuery.size();
    } else if (rest.starts_with(kDocument)) {
      text += document;
      at += kDocument.size();
    } else {
      text += template_[at++];
    }
  }
  return text;
}

}  // namespace tandem
