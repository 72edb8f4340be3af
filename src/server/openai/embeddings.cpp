#include "server/openai/embeddings.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/embedding_run.h"
#include "server/json_text.h"

namespace tandem {
namespace {

// The numbers as little-endian floats in base64, which is how OpenAI's clients ask for them.
std::string base64_json(const std::vector<float>& vector) {
  const std::size_t size = vector.size() * sizeof(float);
  std::string text(4 * ((size + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(vector.data()),
                                     static_cast<int>(size));
  text.resize(static_cast<std::size_t>(length));
  return json_string(text);
}

HttpResponse answer(const std::string& model, EmbeddedPrompts prompts, std::int32_t dimensions,
                    bool as_base64) {
  std::string data;
  for (std::size_t i = 0; i < prompts.vectors.size(); ++i) {
    std::vector<float>& vector = prompts.vectors[i];
    if (dimensions > 0) vector.resize(static_cast<std::size_t>(dimensions));
    normalise(vector, 2);
    data += fmt::format(R"({}{{"object":"embedding","index":{},"embedding":{}}})",
                        data.empty() ? "" : ",", i,
                        as_base64 ? base64_json(vector) : numbers_json(vector));
  }
  HttpResponse response;
  response.body = fmt::format(
      R"({{"object":"list","data":[{}],"model":{},"usage":{{"prompt_tokens":{},"total_tokens":{}}}}})",
      data, json_string(model), prompts.totals.prompt_tokens, prompts.totals.prompt_tokens);
  return response;
}

}  // namespace

void serve_embeddings(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  std::string encoding = "float";
  reader.read("encoding_format", encoding);
  if (encoding != "float" && encoding != "base64") {
    reader.fail("encoding_format", "'encoding_format' must be float or base64");
  }
  std::int32_t dimensions = 0;
  reader.read("dimensions", dimensions, 1, model.embedding_length);
  // llama-server's name of the field on this route's older spelling.
  const std::string_view name = !reader.has("input") && reader.has("content") ? "content" : "input";
  auto prompts = read_embedding_prompts(reader, name, model);
  if (reader.error()) return refuse(*exchange, *reader.error());
  run_embedding(model, exchange, std::move(prompts), model.pooling,
                [model_name = model.name, dimensions,
                 as_base64 = encoding == "base64"](EmbeddedPrompts result) {
                  return answer(model_name, std::move(result), dimensions, as_base64);
                });
}

}  // namespace tandem
