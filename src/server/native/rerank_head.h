#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace tandem {

class GgufFile;

// The small head by which a reranking model turns the last token's hidden state into a score, and
// the text in which it wants to see a query beside a document.
// Tensors as in llama.cpp's build_pooling (LLAMA_POOLING_TYPE_RANK): cls.weight, cls.bias, then
// tanh; cls.output.weight, cls.output.bias; for Qwen3 a softmax over the labels.
class RerankHead {
 public:
  // Null: the file has no such head. Errors: kMalformed for one that does not fit hidden_size.
  static Result<std::unique_ptr<const RerankHead>> from_gguf(const GgufFile& file,
                                                             std::int64_t hidden_size);

  // hidden: [hidden_size]. The first label's value.
  float score(std::span<const float> hidden) const;
  // The model's template (tokenizer.chat_template.rerank) with both texts in their places. Empty
  // where the model has none.
  std::string prompt(const std::string& query, const std::string& document) const;

 private:
  struct Layer {
    std::size_t inputs = 0;
    std::vector<float> weights;  // [outputs, inputs]
    std::vector<float> bias;     // [outputs], or empty

    std::vector<float> apply(std::span<const float> x) const;
  };

  static Result<Layer> read_layer(const GgufFile& file, const std::string& name,
                                  std::int64_t inputs);

  Layer inner_;  // without weights: there is none
  Layer output_;
  bool has_softmax_ = false;
  std::string template_;
};

}  // namespace tandem
