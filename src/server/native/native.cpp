#include "server/native/native.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "server/json_text.h"
#include "server/openai/chat.h"
#include "server/request_fields.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

void respond(HttpExchange& exchange, std::string json) {
  HttpResponse response;
  response.body = std::move(json);
  exchange.respond(std::move(response));
}

std::string token_text(const ServedModel& model, const std::optional<std::int32_t>& token) {
  return token ? json_string(model.tokenizer->piece(*token, true)) : "\"\"";
}

}  // namespace

void serve_tokenize(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  std::string content;
  bool add_special = false;
  bool parse_special = true;
  bool with_pieces = false;
  reader.read("content", content);
  reader.read("add_special", add_special);
  reader.read("parse_special", parse_special);
  reader.read("with_pieces", with_pieces);
  if (reader.error()) return refuse(*exchange, *reader.error());
  const auto tokens = model.tokenizer->encode(
      content, {.add_special = add_special, .parse_special = parse_special});
  if (!with_pieces) {
    return respond(*exchange, fmt::format(R"({{"tokens":[{}]}})", fmt::join(tokens, ",")));
  }
  std::string list;
  for (const std::int32_t token : tokens) {
    if (!list.empty()) list += ',';
    list += fmt::format(R"({{"id":{},"piece":{}}})", token,
                        json_string(model.tokenizer->piece(token, true)));
  }
  respond(*exchange, fmt::format(R"({{"tokens":[{}]}})", list));
}

void serve_detokenize(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  const Json* list = reader.find("tokens");
  std::vector<std::int32_t> tokens;
  if (list == nullptr || !list->is_array()) {
    reader.fail("tokens", "'tokens' must be a list of token ids");
  } else {
    for (const Json& entry : *list) {
      const bool is_id = entry.is_number_integer() && entry.get<std::int64_t>() >= 0 &&
                         entry.get<std::int64_t>() < model.tokenizer->vocabulary().size();
      if (!is_id) {
        reader.fail("tokens", "'tokens' must hold ids of the vocabulary");
        break;
      }
      tokens.push_back(entry.get<std::int32_t>());
    }
  }
  if (reader.error()) return refuse(*exchange, *reader.error());
  const std::string text = model.tokenizer->decode(tokens, {.render_special = true});
  respond(*exchange, fmt::format(R"({{"content":{}}})", json_string(text)));
}

void serve_apply_template(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  const std::string text = render_chat(reader, model);
  if (reader.error()) return refuse(*exchange, *reader.error());
  respond(*exchange, fmt::format(R"({{"prompt":{}}})", json_string(text)));
}

void serve_props(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const EngineStats stats = model.engine->stats();
  const SamplingParams& p = model.default_sampling;
  const SpecialTokens& special = model.tokenizer->vocabulary().special();
  const std::string params = fmt::format(
      R"({{"temperature":{},"top_k":{},"top_p":{},"min_p":{},"repeat_penalty":{},"repeat_last_n":{},"presence_penalty":{},"frequency_penalty":{},"n_predict":{}}})",
      p.temperature, p.top_k, p.top_p, p.min_p, p.penalties.repeat, p.penalties.last_n,
      p.penalties.presence, p.penalties.frequency, model.default_max_tokens);
  respond(
      *exchange,
      fmt::format(
          R"({{"default_generation_settings":{{"n_ctx":{},"params":{}}},"total_slots":{},"model_alias":{},"model_path":{},"chat_template":{},"bos_token":{},"eos_token":{},"modalities":{{"vision":false,"audio":false}},"build_info":"tandem"}})",
          stats.max_context_tokens, params, stats.max_sequences, json_string(model.name),
          json_string(model.model_path), json_string(model.chat_template->source()),
          token_text(model, special.bos), token_text(model, special.eos)));
}

void serve_slots(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const EngineStats stats = model.engine->stats();
  std::string list;
  std::int32_t slot = 0;
  const auto append = [&](std::string_view more) {
    list += fmt::format(R"({}{{"id":{},"n_ctx":{},{}}})", slot == 0 ? "" : ",", slot,
                        stats.max_context_tokens, more);
    ++slot;
  };
  for (const AnswerState& answer : stats.answers) {
    if (!answer.is_running) continue;
    append(fmt::format(
        R"("id_task":{},"is_processing":true,"n_prompt_tokens":{},"n_past":{},"next_token":{{"n_decoded":{},"n_remain":{}}})",
        answer.request, answer.prompt_tokens, answer.computed_tokens, answer.generated_tokens,
        answer.max_tokens - answer.generated_tokens));
  }
  while (slot < stats.max_sequences) append(R"("id_task":-1,"is_processing":false)");
  respond(*exchange, "[" + list + "]");
}

void serve_machine(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const EngineStats stats = model.engine->stats();
  std::string ranks;
  for (std::size_t i = 0; i < stats.ranks.size(); ++i) {
    const RankTimes& t = stats.ranks[i];
    RankMemory memory;
    if (i < stats.memory.size()) memory = stats.memory[i];
    ranks += fmt::format(
        R"({}{{"device":{},"stage":{},"compute_s":{},"wait_s":{},"reduce_s":{},"stage_wait_s":{},"transfer_s":{},"output_s":{},"idle_s":{},"steps":{},"weights_bytes":{},"kv_bytes":{},"compute_bytes":{}}})",
        i == 0 ? "" : ",", json_string(t.device), t.stage, t.compute, t.wait, t.reduce,
        t.stage_wait, t.transfer, t.output, t.idle, t.num_steps, memory.weights_bytes,
        memory.kv_bytes, memory.compute_bytes);
  }
  std::string answers;
  for (const AnswerState& answer : stats.answers) {
    answers += fmt::format(
        R"({}{{"request":{},"choice":{},"running":{},"prompt_tokens":{},"computed_tokens":{},"generated_tokens":{},"max_tokens":{}}})",
        answers.empty() ? "" : ",", answer.request, answer.choice, answer.is_running,
        answer.prompt_tokens, answer.computed_tokens, answer.generated_tokens, answer.max_tokens);
  }
  const EngineCounters& c = stats.counters;
  respond(
      *exchange,
      fmt::format(
          R"({{"model":{{"name":{},"parameters":{},"file_bytes":{},"context_tokens":{}}},"plan":{},"ranks":[{}],"answers":[{}],"kv":{{"blocks_total":{},"blocks_owned":{},"blocks_cached":{},"block_tokens":{}}},"counters":{{"prompt_tokens":{},"cached_prompt_tokens":{},"generated_tokens":{},"draft_tokens":{},"draft_tokens_accepted":{},"requests_finished":{},"requests_failed":{},"requests_cancelled":{},"steps":{},"step_s":{},"engine_s":{}}},"max_sequences":{},"failure":{}}})",
          json_string(model.name), model.num_parameters, model.file_bytes, stats.max_context_tokens,
          model.plan_json.empty() ? "null" : model.plan_json, ranks, answers, stats.blocks_total,
          stats.blocks_owned, stats.blocks_cached, stats.block_tokens, c.prompt_tokens,
          c.cached_prompt_tokens, c.generated_tokens, c.drafted_tokens, c.accepted_tokens,
          c.requests_finished, c.requests_failed, c.requests_cancelled, c.steps,
          double(c.step_us) / 1e6, double(c.engine_us) / 1e6, stats.max_sequences,
          stats.failure.empty() ? "null" : json_string(stats.failure)));
}

}  // namespace tandem
