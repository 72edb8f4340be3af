#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/answer_json.h"
#include "server/generation_run.h"
#include "server/request_fields.h"

namespace tandem {

// Answers in llama-server's own form: a document (a list of them for several choices), or
// server-sent events whose last one of a choice has "stop": true.
class NativeWriter : public AnswerWriter {
 public:
  struct Options {
    bool stream = false;
    bool return_tokens = false;
    bool with_probabilities = false;
    std::int32_t num_choices = 1;
  };
  NativeWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange, Options options);

  void write_text(const TextEvent& event) override;
  void write_finish(const FinishEvent& event) override;
  void write_error(const ApiError& error) override;
  void write_keep_alive() override;

 private:
  struct Choice {
    std::string content;
    std::vector<std::int32_t> tokens;
    std::string probabilities;  // entries, with commas between them
    std::int32_t num_tokens = 0;
    std::string final_document;
  };

  void begin_stream();
  std::string document(std::int32_t index, const Choice& choice, std::string_view more) const;
  std::string probability_entries(const std::vector<GeneratedToken>& tokens) const;

  const ServedModel& model_;
  const std::shared_ptr<HttpExchange> exchange_;
  const Options options_;
  std::map<std::int32_t, Choice> choices_;
  bool is_streaming_ = false;
};

}  // namespace tandem
