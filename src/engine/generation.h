#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "engine/hidden_pool.h"
#include "engine/token_sampler.h"

namespace tandem {

using RequestId = std::uint64_t;

// One prompt and what is wanted of it.
struct GenerationRequest {
  std::vector<std::int32_t> prompt;  // at least one token
  std::int32_t max_tokens = -1;      // of each answer; -1: until the context is full
  std::int32_t num_choices = 1;      // answers to the same prompt; choice i draws with seed + i
  SamplingParams sampling;
  std::vector<std::string> stop;  // texts that end the answer and are not part of it
  bool ignore_eos = false;        // end-of-generation tokens do not end the answer
  bool render_special = false;    // control tokens appear in the text
  bool cache_prompt = true;       // may take a known prefix from the cache, and leave its own there
  // Other than kNone: nothing is generated; the prompt's pooled hidden state is the answer.
  Pooling pooling = Pooling::kNone;
  // Makes what the answer must obey, one for each choice. Empty: it is free.
  std::function<std::unique_ptr<TokenConstraint>()> make_constraint;
};

struct GeneratedToken {
  std::int32_t token = 0;
  std::string bytes;  // its text, perhaps a part of a UTF-8 character
  float logprob = 0;
  std::vector<TokenLogprob> likeliest;
};

// More of an answer. The texts of a choice in a row are its answer, each of them valid UTF-8; a
// token comes with the text that it completed.
struct TextEvent {
  std::int32_t choice = 0;
  std::string text;
  std::vector<GeneratedToken> tokens;
};

enum class FinishReason : std::uint8_t { kEndOfText, kStopText, kLength, kCancelled };

std::string_view name_of(FinishReason reason);

struct GenerationUsage {
  std::int32_t prompt_tokens = 0;
  std::int32_t cached_tokens = 0;  // of the prompt, found in the prefix cache
  std::int32_t completion_tokens = 0;
  std::int32_t drafted_tokens = 0;   // guessed by speculation
  std::int32_t accepted_tokens = 0;  // of these, right
};

struct GenerationTimings {
  std::int64_t queue_us = 0;    // from submission until its first step
  std::int64_t prefill_us = 0;  // from then to its first token
  std::int64_t decode_us = 0;   // from then to its last one
};

// A choice is complete.
struct FinishEvent {
  std::int32_t choice = 0;
  FinishReason reason = FinishReason::kEndOfText;
  std::string stop_text = {};  // that ended it, for kStopText
  GenerationUsage usage = {};
  GenerationTimings timings = {};
  std::vector<float> embedding = {};  // [hidden_size], not normalised; where pooling was wanted
  bool is_last = true;                // of the request: all choices are complete
};

// The request failed; nothing follows.
struct ErrorEvent {
  Error error;
};

using GenerationEvent = std::variant<TextEvent, FinishEvent, ErrorEvent>;

// Takes a request's events, in order, on the engine's thread: it must not block. The last one is a
// FinishEvent with is_last or an ErrorEvent.
using EventSink = std::function<void(GenerationEvent event)>;

}  // namespace tandem
