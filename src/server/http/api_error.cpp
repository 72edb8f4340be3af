#include "server/http/api_error.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "server/http/http_exchange.h"

namespace tandem {
namespace {

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string quoted_or_null(const std::string& text) {
  return text.empty() ? "null" : json_string(text);
}

std::string_view anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

}  // namespace

Dialect dialect_of(std::string_view path) {
  if (path.starts_with("/v1/messages")) return Dialect::kAnthropic;
  return path.starts_with("/v1/") ? Dialect::kOpenAi : Dialect::kNative;
}

ApiError bad_request(std::string message, std::string param) {
  return {400, std::move(message), "invalid_request_error", std::move(param), {}, 0};
}

ApiError not_supported(std::string message, std::string param) {
  return {501, std::move(message), "not_supported_error", std::move(param), {}, 0};
}

ApiError api_error_of(const Error& error) {
  ApiError result{500, error.to_string(), "server_error", {}, {}, 0};
  if (error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kMalformed) {
    result.status = 400;
    result.type = "invalid_request_error";
    if (error.what == "the prompt does not fit the context") {
      result.code = "context_length_exceeded";
      result.param = "messages";
    }
  } else if (error.code == ErrorCode::kUnsupported) {
    result.status = 501;
    result.type = "not_supported_error";
  } else if (error.code == ErrorCode::kBusy) {
    result.status = 429;
    result.type = "rate_limit_error";
    result.code = "queue_full";
    result.retry_after_s = 1;
  }
  return result;
}

std::string error_json(const ApiError& error, Dialect dialect) {
  const std::string message = json_string(error.message);
  if (dialect == Dialect::kAnthropic) {
    return fmt::format(R"({{"type":"error","error":{{"type":"{}","message":{}}}}})",
                       anthropic_type(error.status), message);
  }
  if (dialect == Dialect::kNative) {
    return fmt::format(R"({{"error":{{"code":{},"message":{},"type":"{}"}}}})", error.status,
                       message, error.type);
  }
  return fmt::format(R"({{"error":{{"message":{},"type":"{}","param":{},"code":{}}}}})", message,
                     error.type, quoted_or_null(error.param), quoted_or_null(error.code));
}

HttpResponse error_response(const ApiError& error, Dialect dialect) {
  HttpResponse response;
  response.status = error.status;
  response.body = error_json(error, dialect);
  if (error.retry_after_s > 0) {
    response.headers.emplace_back("Retry-After", std::to_string(error.retry_after_s));
  }
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

void refuse(HttpExchange& exchange, const ApiError& error) {
  exchange.respond(error_response(error, dialect_of(exchange.request().path)));
}

}  // namespace tandem
