#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tandem {

// What a router must know of a request's JSON body, and no more. Offsets are bytes of the body.
struct RequestScan {
  std::optional<std::string> model;
  std::size_t model_begin = 0;  // of its value, quotes included
  std::size_t model_end = 0;
  bool stream = false;
  std::optional<std::int64_t> max_tokens;  // of max_tokens, max_completion_tokens, n_predict
  std::size_t prompt_begin = 0;            // of the value of messages, prompt, input or content:
  std::size_t prompt_end = 0;              // what prompts of one conversation begin alike with

  std::size_t prompt_bytes() const { return prompt_end - prompt_begin; }
};

// Walks over the text once, without building anything. Everything outside the top level is stepped
// over; text that no reader could take for JSON, a `model` that is there twice or is no text, and
// nesting above 128 are kMalformed, so that the one who answers cannot see another model than the
// one who routes. Works at some 1 GB/s of long strings.
Result<RequestScan> scan_request(std::string_view body);

// The body with another model's name in it.
std::string with_model(std::string_view body, const RequestScan& scan, std::string_view model);

}  // namespace tandem
