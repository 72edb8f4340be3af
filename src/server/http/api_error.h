#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "server/http/http_message.h"

namespace tandem {

class HttpExchange;

// Whose form an answer has.
enum class Dialect : std::uint8_t { kOpenAi, kNative, kAnthropic };

// The dialect of a path's errors: /v1/messages Anthropic's, other /v1 OpenAI's, else
// llama-server's.
Dialect dialect_of(std::string_view path);

// A refusal, as a client sees it.
struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;               // empty: null
  std::string code;                // empty: null
  std::int32_t retry_after_s = 0;  // above 0: the header Retry-After
};

ApiError bad_request(std::string message, std::string param = {});
ApiError not_supported(std::string message, std::string param = {});
// What the engine or the runtime said: 400 for a request that can never run, 429 for a full queue,
// 500 else.
ApiError api_error_of(const Error& error);

// The error's JSON in a dialect's form, without the HTTP around it.
std::string error_json(const ApiError& error, Dialect dialect);
HttpResponse error_response(const ApiError& error, Dialect dialect);

// Answers with the error in the dialect of the request's path.
void refuse(HttpExchange& exchange, const ApiError& error);

}  // namespace tandem
