#include "fleet/response_reader.h"

#include <string_view>
#include <utility>

#include "fleet/http_fields.h"
#include "machine/text_scan.h"

namespace tandem::upstream_internal {

void ResponseReader::make_parser() {
  parser_.emplace();
  parser_->header_limit(kMaxHeadBytes);
  parser_->body_limit(boost::none);
  parser_->eager(true);
}

void ResponseReader::start(bool to_head) {
  make_parser();
  if (to_head) parser_->skip(true);
  told_head_ = false;
}

std::optional<std::string> ResponseReader::parse() {
  error_code error;
  while (buffer_.size() > 0 && !parser_->is_done()) {
    const std::size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (error) break;
    const bool is_word_before = parser_->is_done() && parser_->get().result_int() / 100 == 1;
    if (is_word_before) make_parser();  // 100 Continue and kin
  }
  if (error == beast::http::error::need_more) error = {};
  if (error) return "no HTTP: " + error.message();
  if (told_head_ || !parser_->is_header_done()) return std::nullopt;
  // Two lengths are no length (RFC 9112, 6.3).
  const auto& message = parser_->get();
  const bool has_two = message.count(beast::http::field::transfer_encoding) > 0 &&
                       message.count(beast::http::field::content_length) > 0;
  return has_two ? std::optional<std::string>("a transfer coding beside a length") : std::nullopt;
}

bool ResponseReader::ends_here() {
  if (!parser_->is_header_done() || parser_->chunked() || parser_->content_length().has_value()) {
    return false;
  }
  error_code error;
  parser_->put_eof(error);
  return !error && parser_->is_done();
}

std::optional<UpstreamHead> ResponseReader::take_head() {
  if (!parser_->is_header_done() || std::exchange(told_head_, true)) return std::nullopt;
  const auto& message = parser_->get();
  const auto view = [](auto text) { return std::string_view(text.data(), text.size()); };
  UpstreamHead head;
  head.status = static_cast<int>(message.result_int());
  for (const auto& field : message) {
    head.headers.emplace_back(lower_case(view(field.name_string())), view(field.value()));
  }
  remove_hop_by_hop(head.headers);
  return head;
}

std::string ResponseReader::take_piece() {
  return std::exchange(parser_->get().body(), {});
}

}  // namespace tandem::upstream_internal
