#include "server/native/embedding.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/embedding_run.h"

namespace tandem {

void serve_native_embedding(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  std::int32_t norm = 2;
  reader.read("embd_normalize", norm, -1, 64);
  const std::string_view name = reader.has("input") ? "input" : "content";
  auto prompts = read_embedding_prompts(reader, name, model);
  if (reader.error()) return refuse(*exchange, *reader.error());
  run_embedding(model, exchange, std::move(prompts), model.pooling, [norm](EmbeddedPrompts result) {
    std::string list;
    for (std::size_t i = 0; i < result.vectors.size(); ++i) {
      normalise(result.vectors[i], norm);
      list += fmt::format(R"({}{{"index":{},"embedding":[{}]}})", list.empty() ? "" : ",", i,
                          numbers_json(result.vectors[i]));
    }
    HttpResponse response;
    response.body = "[" + list + "]";
    return response;
  });
}

}  // namespace tandem
