#include "server/native/completion_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "server/json_text.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

std::string_view stop_type(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfText:
      return "eos";
    case FinishReason::kStopText:
      return "word";
    case FinishReason::kLength:
      return "limit";
    case FinishReason::kCancelled:
      break;
  }
  return "none";
}

}  // namespace

NativeWriter::NativeWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                           Options options)
    : model_(model), exchange_(std::move(exchange)), options_(options) {}

void NativeWriter::begin_stream() {
  if (!std::exchange(is_streaming_, true)) exchange_->begin_stream(event_stream());
}

void NativeWriter::write_text(const TextEvent& event) {
  Choice& choice = choices_[event.choice];
  Choice fresh;
  Choice& target = options_.stream ? fresh : choice;
  target.content += event.text;
  for (const GeneratedToken& token : event.tokens) target.tokens.push_back(token.token);
  if (options_.with_probabilities) {
    const std::string entries = probability_entries(event.tokens);
    if (!target.probabilities.empty() && !entries.empty()) target.probabilities += ',';
    target.probabilities += entries;
  }
  choice.num_tokens += static_cast<std::int32_t>(event.tokens.size());
  if (!options_.stream || event.text.empty()) return;
  begin_stream();
  fresh.num_tokens = choice.num_tokens;
  exchange_->send(tandem::event(document(event.choice, fresh, R"("stop":false)")));
}

std::string NativeWriter::document(std::int32_t index, const Choice& choice,
                                   std::string_view more) const {
  std::string text = fmt::format(
      R"({{"index":{},"content":{},"tokens":[{}],"id_slot":-1,"tokens_predicted":{},{})", index,
      json_string(choice.content),
      options_.return_tokens || options_.stream ? fmt::format("{}", fmt::join(choice.tokens, ","))
                                                : "",
      choice.num_tokens, more);
  if (options_.with_probabilities) {
    text += fmt::format(R"(,"completion_probabilities":[{}])", choice.probabilities);
  }
  return text + "}";
}

std::string NativeWriter::probability_entries(const std::vector<GeneratedToken>& tokens) const {
  const auto entry = [](std::int32_t id, std::string_view bytes, float logprob) {
    return fmt::format(R"("id":{},"token":{},"logprob":{})", id, json_string(bytes),
                       std::max(logprob, -9999.0f));
  };
  std::string list;
  for (const GeneratedToken& token : tokens) {
    std::string likeliest;
    for (const TokenLogprob& other : token.likeliest) {
      if (!likeliest.empty()) likeliest += ',';
      likeliest +=
          "{" + entry(other.token, model_.tokenizer->piece(other.token, true), other.logprob) + "}";
    }
    if (!list.empty()) list += ',';
    list += fmt::format(R"({{{},"top_logprobs":[{}]}})",
                        entry(token.token, token.bytes, token.logprob), likeliest);
  }
  return list;
}

void NativeWriter::write_finish(const FinishEvent& event) {
  Choice& choice = choices_[event.choice];
  choice.num_tokens = event.usage.completion_tokens;
  AnswerTotals totals;
  totals.add(event, true);
  const std::string more = fmt::format(
      R"("stop":true,"model":{},"tokens_evaluated":{},"tokens_cached":{},"truncated":false,"stop_type":"{}","stopping_word":{},"timings":{})",
      json_string(model_.name), event.usage.prompt_tokens,
      event.usage.prompt_tokens + event.usage.completion_tokens, stop_type(event.reason),
      json_string(event.stop_text), timings_json(totals));
  choice.final_document = document(event.choice, choice, more);
  if (options_.stream) {
    begin_stream();
    exchange_->send(tandem::event(choice.final_document));
  }
  if (!event.is_last) return;
  if (options_.stream) return exchange_->end_stream();
  std::string body;
  for (const auto& [index, finished] : choices_) {
    if (!body.empty()) body += ',';
    body += finished.final_document;
  }
  HttpResponse response;
  response.body = options_.num_choices > 1 ? "[" + body + "]" : body;
  exchange_->respond(std::move(response));
}

void NativeWriter::write_error(const ApiError& error) {
  if (!is_streaming_) return refuse(*exchange_, error);
  exchange_->send(event(error_json(error, Dialect::kNative)));
  exchange_->end_stream();
}

void NativeWriter::write_keep_alive() {
  if (!options_.stream) return;
  begin_stream();
  exchange_->send(kKeepAlive);
}

}  // namespace tandem
