#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/answer_json.h"
#include "server/generation_run.h"
#include "server/request_fields.h"

namespace tandem {

// Answers of POST /v1/completions: one JSON document, or server-sent events.
class CompletionWriter : public AnswerWriter {
 public:
  CompletionWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                   StreamFields stream, bool with_logprobs, std::int32_t choices_per_prompt);

  // Texts that the answers begin with, one for each prompt.
  void set_echo(std::vector<std::string> prompts) { echo_ = std::move(prompts); }

  void write_text(const TextEvent& event) override;
  void write_finish(const FinishEvent& event) override;
  void write_error(const ApiError& error) override;
  void write_keep_alive() override;

 private:
  struct Choice {
    std::string text;
    CompletionLogprobs logprobs;
    std::string finish_reason;
  };

  Choice& begin(std::int32_t index);
  std::string document(std::string_view choices, std::string_view more) const;
  void send_choice(std::int32_t index, std::string_view text, std::string_view logprobs,
                   std::string_view finish_reason);
  void end();

  const ServedModel& model_;
  const std::shared_ptr<HttpExchange> exchange_;
  const StreamFields stream_;
  const bool with_logprobs_;
  const std::int32_t choices_per_prompt_;
  const std::string id_;
  const std::int64_t created_;
  std::vector<std::string> echo_;
  std::map<std::int32_t, Choice> choices_;
  AnswerTotals totals_;
  bool is_streaming_ = false;
};

}  // namespace tandem
