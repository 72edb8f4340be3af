#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "server/answer_json.h"
#include "server/http/http_exchange.h"
#include "server/request_fields.h"
#include "server/served_model.h"

namespace tandem {

// What came of a request's prompts.
struct EmbeddedPrompts {
  std::vector<std::vector<float>> vectors;  // one for each prompt, not normalised
  AnswerTotals totals;
};

// Prompts that one request may hold.
inline constexpr std::size_t kMaxEmbeddedPrompts = 2048;

// Text, token ids, or a list of several of either, under `name`. Errors stay with the reader.
std::vector<std::vector<std::int32_t>> read_embedding_prompts(FieldReader& reader,
                                                              std::string_view name,
                                                              const ServedModel& model);

// Computes the prompts' pooled hidden states and answers with what `make_answer` says of them. An
// error is answered in the path's dialect. A client that goes cancels the rest.
void run_embedding(const ServedModel& model, const std::shared_ptr<HttpExchange>& exchange,
                   std::vector<std::vector<std::int32_t>> prompts, Pooling pooling,
                   std::function<HttpResponse(EmbeddedPrompts)> make_answer);

// llama.cpp's embd_normalize: -1 nothing, 0 largest magnitude to 32760, 1 sum of magnitudes to 1,
// 2 Euclidean length to 1, p > 2 that of the p-norm. A vector of zeros stays.
void normalise(std::vector<float>& vector, std::int32_t norm);

// "[0.5,-1]"
std::string numbers_json(const std::vector<float>& vector);

}  // namespace tandem
