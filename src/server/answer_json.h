#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/generation.h"

namespace tandem {

class Tokenizer;

// Parts of answers that several routes share, as JSON texts.

// The tokens and times of all choices of an answer.
struct AnswerTotals {
  std::int32_t prompt_tokens = 0;
  std::int32_t cached_tokens = 0;
  std::int32_t completion_tokens = 0;
  std::int64_t prefill_us = 0;
  std::int64_t decode_us = 0;
  std::int32_t drafted_tokens = 0;
  std::int32_t accepted_tokens = 0;

  // counts_prompt: of the first choice of a prompt; the others share it.
  void add(const FinishEvent& finish, bool counts_prompt);
};

// {"prompt_tokens":..,"completion_tokens":..,"total_tokens":..,"prompt_tokens_details":{..}}
std::string usage_json(const AnswerTotals& totals);
// llama-server's: {"prompt_n":..,"prompt_ms":..,"predicted_n":..,"predicted_ms":..}
std::string timings_json(const AnswerTotals& totals);
// The chat API's, with commas between them: {"token":..,"logprob":..,"bytes":[..],
// "top_logprobs":[..]}
std::string chat_logprob_entries(const std::vector<GeneratedToken>& tokens,
                                 const Tokenizer& tokenizer);
// The completions API's entries, appended to over an answer.
struct CompletionLogprobs {
  std::string tokens;
  std::string token_logprobs;
  std::string top_logprobs;
  std::string text_offsets;
  std::size_t offset = 0;  // in characters of the text so far

  void add(const std::vector<GeneratedToken>& added, const Tokenizer& tokenizer);
  std::string json() const;
};

// "chatcmpl-" and the like, with 24 random letters and digits.
std::string random_id(std::string_view prefix);
std::int64_t unix_seconds();

}  // namespace tandem
