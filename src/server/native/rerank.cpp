#include "server/native/rerank.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "server/embedding_run.h"
#include "server/json_text.h"
#include "server/native/rerank_head.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

// The model's template, or what encoders are given: BOS query EOS SEP document EOS, as far as the
// vocabulary has such tokens.
std::optional<std::vector<std::int32_t>> pair_prompt(const ServedModel& model,
                                                     const std::string& query,
                                                     const std::string& document) {
  const std::string text = model.rerank->prompt(query, document);
  if (!text.empty()) return encode_prompt(text, model, false);
  const SpecialTokens& special = model.tokenizer->vocabulary().special();
  std::vector<std::int32_t> prompt;
  const auto mark = [&](const std::optional<std::int32_t>& token) {
    if (token) prompt.push_back(*token);
  };
  const auto append = [&](const std::string& part) {
    const auto tokens =
        model.tokenizer->encode(part, {.add_special = false, .parse_special = false});
    prompt.insert(prompt.end(), tokens.begin(), tokens.end());
  };
  mark(special.bos);
  append(query);
  mark(special.eos);
  mark(special.sep);
  append(document);
  mark(special.eos);
  return prompt;
}

std::vector<std::vector<std::int32_t>> read_pairs(FieldReader& reader, const ServedModel& model) {
  std::vector<std::vector<std::int32_t>> prompts;
  std::string query;
  std::vector<std::string> documents;
  reader.read("query", query);
  reader.read("documents", documents, kMaxEmbeddedPrompts);
  if (query.empty()) reader.fail("query", "'query' must be a text");
  if (documents.empty()) reader.fail("documents", "'documents' must be a list of texts");
  for (const std::string& document : documents) {
    if (reader.error()) break;
    auto prompt = pair_prompt(model, query, document);
    if (!prompt || prompt->empty()) {
      reader.fail("documents", "a document does not fit the context");
    } else {
      prompts.push_back(std::move(*prompt));
    }
  }
  return prompts;
}

HttpResponse answer(const ServedModel& model, const EmbeddedPrompts& prompts, std::int32_t most) {
  std::vector<std::pair<float, std::size_t>> scores;
  for (std::size_t i = 0; i < prompts.vectors.size(); ++i) {
    scores.emplace_back(model.rerank->score(prompts.vectors[i]), i);
  }
  std::ranges::stable_sort(scores, std::greater(), &std::pair<float, std::size_t>::first);
  if (most < std::ssize(scores)) scores.resize(static_cast<std::size_t>(most));
  std::string list;
  for (const auto& [score, index] : scores) {
    list += fmt::format(R"({}{{"index":{},"relevance_score":{}}})", list.empty() ? "" : ",", index,
                        score);
  }
  HttpResponse response;
  response.body = fmt::format(
      R"({{"model":{},"object":"list","usage":{{"prompt_tokens":{},"total_tokens":{}}},"results":[{}]}})",
      json_string(model.name), prompts.totals.prompt_tokens, prompts.totals.prompt_tokens, list);
  return response;
}

}  // namespace

void serve_rerank(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  if (!model.rerank) {
    return refuse(*exchange, not_supported("this model has no head that ranks documents"));
  }
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  std::int32_t most = std::numeric_limits<std::int32_t>::max();
  reader.read("top_n", most, 0, most);
  auto prompts = read_pairs(reader, model);
  if (reader.error()) return refuse(*exchange, *reader.error());
  run_embedding(model, exchange, std::move(prompts), Pooling::kLast,
                [&model, most](EmbeddedPrompts result) { return answer(model, result, most); });
}

}  // namespace tandem
