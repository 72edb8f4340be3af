#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tandem {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// A request that was read to its end.
struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // percent-decoded, without the query: "/v1/models"
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
  HttpHeaders headers;                                     // names in lower case
  std::string body;
  std::string peer;              // the client's address, without its port
  std::int64_t received_us = 0;  // monotonic: when its last byte was here

  // The value of the header `name` (in lower case), the first of several.
  const std::string* header(std::string_view name) const;
  const std::string* query_value(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json; charset=utf-8";
  std::string body;
  HttpHeaders headers;  // besides those of length, type, date and connection
};

// "Not Found" for 404.
std::string_view reason_phrase(int status);

// "a%20b+c" as "a b+c", or with plus_is_space "a b c". Nullopt: a broken escape or a zero byte.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

// Splits a request's target into path and query. False: it is no origin-form target ("/x?y").
bool parse_target(std::string_view target, HttpRequest& request);

}  // namespace tandem
