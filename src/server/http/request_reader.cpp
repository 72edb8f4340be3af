#include "server/http/request_reader.h"

#include <string_view>

#include "base/clock.h"
#include "base/lower_case.h"

namespace tandem::http_internal {
namespace {

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

RequestRefusal refusal_of(const error_code& error) {
  using Reason = beast::http::error;
  if (error == Reason::header_limit) return {431, "the request's header is too large"};
  if (error == Reason::body_limit) return {413, "the request's body is too large"};
  return {400, "malformed HTTP request: " + error.message()};
}

}  // namespace

std::optional<RequestRefusal> RequestReader::parse() {
  const bool had_head = has_head();
  error_code error;
  while (buffer_.size() > 0 && !parser_->is_done()) {
    const std::size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (error) break;
  }
  if (error == beast::http::error::need_more) error = {};
  if (error) return refusal_of(error);
  if (!has_head()) return std::nullopt;
  if (!had_head && !has_clear_length())
    return RequestRefusal{400, "the body's length is not clear"};
  if (!hold_body()) return RequestRefusal{503, "too many requests arrive at once"};
  return std::nullopt;
}

// Lengths that a proxy in front may read otherwise are how requests are smuggled (RFC 9112, 6.3): a
// transfer coding is "chunked" alone, and never beside a length. Beast refuses some of it.
bool RequestReader::has_clear_length() const {
  using beast::http::field;
  const auto& message = parser_->get();
  const auto codings = message.count(field::transfer_encoding);
  if (codings == 0) return true;
  return codings == 1 && message.version() == 11 && message.count(field::content_length) == 0 &&
         beast::iequals(message[field::transfer_encoding], "chunked");
}

// Counts the body, as long as it says it will be, among those that are held. False: all of them
// together are too long.
bool RequestReader::hold_body() {
  const std::uint64_t announced = parser_->content_length().value_or(0);
  const std::uint64_t bytes = std::max<std::uint64_t>(announced, parser_->get().body().size());
  if (bytes <= held_body_bytes_) return true;
  const std::uint64_t more = bytes - std::exchange(held_body_bytes_, bytes);
  const std::uint64_t all = state_.held_body_bytes.fetch_add(more) + more;
  return all <= std::max(state_.options.max_held_body_bytes, state_.options.max_body_bytes);
}

bool RequestReader::must_say_continue() {
  const auto& message = parser_->get();
  if (parser_->is_done() || said_continue_ || message.version() < 11) return false;
  said_continue_ = beast::iequals(message[beast::http::field::expect], "100-continue");
  return said_continue_;
}

HttpRequest RequestReader::head(const std::string& peer) const {
  const auto& message = parser_->get();
  HttpRequest request;
  request.method = view(message.method_string());
  request.path = view(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(lower_case(view(field.name_string())), view(field.value()));
  }
  request.peer = peer;
  request.received_us = monotonic_us();
  return request;
}

std::optional<RequestRefusal> RequestReader::take(HttpRequest& request) {
  const auto& message = parser_->get();
  // Exactly one Host, as RFC 9112 demands: what lies in front may have chosen by another.
  if (!is_http_1_0() && message.count(beast::http::field::host) != 1) {
    return RequestRefusal{400, "the request needs exactly one Host header"};
  }
  if (!parse_target(view(message.target()), request)) {
    return RequestRefusal{400, "the request's target is malformed"};
  }
  request.body = std::move(parser_->get().body());
  return std::nullopt;
}

}  // namespace tandem::http_internal
