#include "server/embedding_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "server/generation_run.h"

namespace tandem {
namespace {

// Gathers the vectors of all prompts and answers once.
class EmbeddingWriter : public AnswerWriter {
 public:
  EmbeddingWriter(std::shared_ptr<HttpExchange> exchange, std::size_t num_prompts,
                  std::function<HttpResponse(EmbeddedPrompts)> make_answer)
      : exchange_(std::move(exchange)), make_answer_(std::move(make_answer)) {
    result_.vectors.resize(num_prompts);
  }

  void write_text(const TextEvent&) override {}
  void write_finish(const FinishEvent& event) override {
    result_.vectors[static_cast<std::size_t>(event.choice)] = event.embedding;
    result_.totals.add(event, true);
    if (event.is_last) exchange_->respond(make_answer_(std::move(result_)));
  }
  void write_error(const ApiError& error) override { refuse(*exchange_, error); }
  void write_keep_alive() override {}

 private:
  const std::shared_ptr<HttpExchange> exchange_;
  const std::function<HttpResponse(EmbeddedPrompts)> make_answer_;
  EmbeddedPrompts result_;
};

double norm_of(const std::vector<float>& vector, std::int32_t norm) {
  double sum = 0;
  if (norm == 0) {
    for (const float x : vector) sum = std::max(sum, std::fabs(double(x)));
    return sum / 32760;
  }
  for (const float x : vector) sum += std::pow(std::fabs(double(x)), norm);
  return std::pow(sum, 1.0 / norm);
}

}  // namespace

std::vector<std::vector<std::int32_t>> read_embedding_prompts(FieldReader& reader,
                                                              std::string_view name,
                                                              const ServedModel& model) {
  std::vector<std::vector<std::int32_t>> prompts;
  const Json* input = reader.find(name);
  if (input == nullptr) {
    reader.fail(name, fmt::format("'{}' is missing", name));
    return prompts;
  }
  const bool is_several = input->is_array() && !input->empty() &&
                          (input->front().is_string() || input->front().is_array());
  if (!is_several) {
    prompts.push_back(read_prompt(reader, name, *input, model));
  } else if (input->size() > kMaxEmbeddedPrompts) {
    reader.fail(name, fmt::format("'{}' must hold at most {} texts", name, kMaxEmbeddedPrompts));
  } else {
    for (const Json& entry : *input) prompts.push_back(read_prompt(reader, name, entry, model));
  }
  return prompts;
}

void run_embedding(const ServedModel& model, const std::shared_ptr<HttpExchange>& exchange,
                   std::vector<std::vector<std::int32_t>> prompts, Pooling pooling,
                   std::function<HttpResponse(EmbeddedPrompts)> make_answer) {
  std::vector<GenerationRequest> requests;
  for (auto& prompt : prompts) {
    GenerationRequest& request = requests.emplace_back();
    request.prompt = std::move(prompt);
    request.pooling = pooling;
  }
  auto writer =
      std::make_unique<EmbeddingWriter>(exchange, requests.size(), std::move(make_answer));
  run_generation(model, exchange, std::move(requests), std::move(writer));
}

void normalise(std::vector<float>& vector, std::int32_t norm) {
  if (norm < 0) return;
  const double length = norm_of(vector, norm);
  if (!(length > 0)) return;
  for (float& x : vector) x = static_cast<float>(double(x) / length);
}

std::string numbers_json(const std::vector<float>& vector) {
  std::string text = "[";
  for (const float x : vector) {
    if (text.size() > 1) text += ',';
    // JSON has neither infinities nor NaN.
    fmt::format_to(std::back_inserter(text), "{}", std::isfinite(x) ? x : 0.0f);
  }
  return text + "]";
}

}  // namespace tandem
