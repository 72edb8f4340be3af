#include "server/openai/completion_writer.h"

#include <fmt/format.h>

#include <utility>

#include "server/json_text.h"

namespace tandem {
namespace {

std::string choice_json(std::int32_t index, std::string_view text, std::string_view logprobs,
                        std::string_view finish_reason) {
  return fmt::format(R"({{"text":{},"index":{},"logprobs":{},"finish_reason":{}}})",
                     json_string(text), index, logprobs, finish_reason);
}

}  // namespace

CompletionWriter::CompletionWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                                   StreamFields stream, bool with_logprobs,
                                   std::int32_t choices_per_prompt)
    : model_(model),
      exchange_(std::move(exchange)),
      stream_(stream),
      with_logprobs_(with_logprobs),
      choices_per_prompt_(choices_per_prompt),
      id_(random_id("cmpl-")),
      created_(unix_seconds()) {}

void CompletionWriter::write_text(const TextEvent& event) {
  Choice& choice = begin(event.choice);
  if (!stream_.stream) {
    choice.text += event.text;
    if (with_logprobs_) choice.logprobs.add(event.tokens, *model_.tokenizer);
    return;
  }
  CompletionLogprobs fresh;
  fresh.offset = choice.logprobs.offset;
  if (with_logprobs_) fresh.add(event.tokens, *model_.tokenizer);
  choice.logprobs.offset = fresh.offset;
  if (event.text.empty()) return;
  send_choice(event.choice, event.text, with_logprobs_ ? fresh.json() : "null", "null");
}

void CompletionWriter::write_finish(const FinishEvent& event) {
  totals_.add(event, event.choice % choices_per_prompt_ == 0);
  Choice& choice = begin(event.choice);
  choice.finish_reason = name_of(event.reason);
  if (stream_.stream) {
    send_choice(event.choice, "", "null", "\"" + choice.finish_reason + "\"");
  }
  if (event.is_last) end();
}

void CompletionWriter::write_error(const ApiError& error) {
  if (!is_streaming_) return refuse(*exchange_, error);
  exchange_->send(event(error_json(error, Dialect::kOpenAi)));
  exchange_->end_stream();
}

CompletionWriter::Choice& CompletionWriter::begin(std::int32_t index) {
  if (stream_.stream && !std::exchange(is_streaming_, true)) {
    exchange_->begin_stream(event_stream());
  }
  const auto [found, is_new] = choices_.try_emplace(index);
  const auto prompt = static_cast<std::size_t>(index / choices_per_prompt_);
  if (is_new && prompt < echo_.size()) {
    if (stream_.stream) {
      send_choice(index, echo_[prompt], "null", "null");
    } else {
      found->second.text = echo_[prompt];
    }
  }
  return found->second;
}

std::string CompletionWriter::document(std::string_view choices, std::string_view more) const {
  return fmt::format(
      R"({{"id":"{}","object":"text_completion","created":{},"model":{},"system_fingerprint":"tandem","choices":[{}]{}}})",
      id_, created_, json_string(model_.name), choices, more);
}

void CompletionWriter::send_choice(std::int32_t index, std::string_view text,
                                   std::string_view logprobs, std::string_view finish_reason) {
  exchange_->send(event(document(choice_json(index, text, logprobs, finish_reason),
                                 stream_.include_usage ? R"(,"usage":null)" : "")));
}

void CompletionWriter::end() {
  const std::string totals =
      fmt::format(R"(,"usage":{},"timings":{})", usage_json(totals_), timings_json(totals_));
  if (stream_.stream) {
    if (stream_.include_usage) exchange_->send(event(document("", totals)));
    exchange_->send(event("[DONE]"));
    return exchange_->end_stream();
  }
  std::string choices;
  for (const auto& [index, choice] : choices_) {
    if (!choices.empty()) choices += ',';
    choices += choice_json(index, choice.text, with_logprobs_ ? choice.logprobs.json() : "null",
                           "\"" + choice.finish_reason + "\"");
  }
  HttpResponse response;
  response.body = document(choices, totals);
  exchange_->respond(std::move(response));
}

void CompletionWriter::write_keep_alive() {
  if (!stream_.stream) return;
  begin(0);
  exchange_->send(kKeepAlive);
}

}  // namespace tandem
