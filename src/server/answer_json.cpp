#include "server/answer_json.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <random>

#include "server/json_text.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

// JSON has no infinities; OpenAI says -9999 for what is next to impossible.
std::string logprob_text(float logprob) {
  return std::isfinite(logprob) ? fmt::format("{}", logprob) : "-9999.0";
}

std::string bytes_json(std::string_view bytes) {
  std::string out = "[";
  for (const char c : bytes) {
    if (out.size() > 1) out += ',';
    out += std::to_string(static_cast<unsigned char>(c));
  }
  return out + "]";
}

std::string entry(std::string_view bytes, float logprob) {
  return fmt::format(R"("token":{},"logprob":{},"bytes":{})", json_string(bytes),
                     logprob_text(logprob), bytes_json(bytes));
}

void append_item(std::string& list, std::string_view item) {
  if (!list.empty()) list += ',';
  list += item;
}

std::size_t num_characters(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

}  // namespace

void AnswerTotals::add(const FinishEvent& finish, bool counts_prompt) {
  completion_tokens += finish.usage.completion_tokens;
  drafted_tokens += finish.usage.drafted_tokens;
  accepted_tokens += finish.usage.accepted_tokens;
  decode_us += finish.timings.decode_us;
  if (!counts_prompt) return;
  prompt_tokens += finish.usage.prompt_tokens;
  cached_tokens += finish.usage.cached_tokens;
  prefill_us += finish.timings.prefill_us;
}

std::string usage_json(const AnswerTotals& totals) {
  return fmt::format(
      R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}}}})",
      totals.prompt_tokens, totals.completion_tokens,
      totals.prompt_tokens + totals.completion_tokens, totals.cached_tokens);
}

std::string timings_json(const AnswerTotals& totals) {
  const std::int32_t computed = totals.prompt_tokens - totals.cached_tokens;
  const auto rate = [](double count, std::int64_t us) {
    return us > 0 ? count * 1e6 / double(us) : 0;
  };
  // The first token comes with the prompt.
  const std::int32_t decoded = std::max(0, totals.completion_tokens - 1);
  return fmt::format(
      R"({{"cache_n":{},"prompt_n":{},"prompt_ms":{:.3f},"prompt_per_second":{:.3f},"predicted_n":{},"predicted_ms":{:.3f},"predicted_per_second":{:.3f},"draft_n":{},"draft_n_accepted":{}}})",
      totals.cached_tokens, computed, double(totals.prefill_us) / 1000,
      rate(computed, totals.prefill_us), totals.completion_tokens, double(totals.decode_us) / 1000,
      rate(decoded, totals.decode_us), totals.drafted_tokens, totals.accepted_tokens);
}

std::string chat_logprob_entries(const std::vector<GeneratedToken>& tokens,
                                 const Tokenizer& tokenizer) {
  std::string list;
  for (const GeneratedToken& token : tokens) {
    std::string likeliest;
    for (const TokenLogprob& other : token.likeliest) {
      append_item(likeliest, "{" + entry(tokenizer.piece(other.token, true), other.logprob) + "}");
    }
    append_item(list, fmt::format(R"({{{},"top_logprobs":[{}]}})",
                                  entry(token.bytes, token.logprob), likeliest));
  }
  return list;
}

void CompletionLogprobs::add(const std::vector<GeneratedToken>& added, const Tokenizer& tokenizer) {
  for (const GeneratedToken& token : added) {
    append_item(tokens, json_string(token.bytes));
    append_item(token_logprobs, logprob_text(token.logprob));
    append_item(text_offsets, std::to_string(offset));
    offset += num_characters(token.bytes);
    std::string likeliest;
    for (const TokenLogprob& other : token.likeliest) {
      append_item(likeliest, json_string(tokenizer.piece(other.token, true)) + ":" +
                                 logprob_text(other.logprob));
    }
    append_item(top_logprobs, "{" + likeliest + "}");
  }
}

std::string CompletionLogprobs::json() const {
  return fmt::format(
      R"({{"tokens":[{}],"token_logprobs":[{}],"top_logprobs":[{}],"text_offset":[{}]}})", tokens,
      token_logprobs, top_logprobs, text_offsets);
}

std::string random_id(std::string_view prefix) {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  std::random_device device;
  std::string id(prefix);
  for (int i = 0; i < 24; ++i) id += kLetters[device() % kLetters.size()];
  return id;
}

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace tandem
