#pragma once

// Internal to http_server.cpp and request_reader.cpp.

#include <algorithm>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "server/http/server_state.h"

namespace tandem::http_internal {

namespace beast = boost::beast;

// Why a request cannot be taken: an answer of the server's own, after which the connection ends.
struct RequestRefusal {
  int status = 400;
  std::string message;
};

// Makes requests of a client's bytes, one after the other, within the server's limits. Knows no
// socket and no time.
class RequestReader {
 public:
  explicit RequestReader(ServerState& state) : state_(state) {}
  ~RequestReader() { release_body(); }
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  // The next request; what has come of it already stays.
  void start() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(state_.options.max_header_bytes));
    parser_->body_limit(state_.options.max_body_bytes);
    parser_->eager(true);
    said_continue_ = false;
  }
  void add(asio::const_buffer bytes) {
    buffer_.commit(asio::buffer_copy(buffer_.prepare(bytes.size()), bytes));
  }
  void drop_rest() { buffer_.consume(buffer_.size()); }
  std::size_t unparsed_bytes() const { return buffer_.size(); }

  // Takes what is there of this request.
  std::optional<RequestRefusal> parse();
  bool has_head() const { return parser_->is_header_done(); }
  bool is_whole() const { return parser_->is_done(); }
  // True once, if the client waits for the word before it sends the body.
  bool must_say_continue();

  // Of the request at hand.
  bool is_http_1_0() const { return parser_->get().version() < 11; }
  bool is_head() const { return parser_->get().method() == beast::http::verb::head; }
  bool is_keep_alive() const { return parser_->get().keep_alive(); }
  // Method and headers; for answers to what could not be read to its end.
  HttpRequest head(const std::string& peer) const;
  // All of it, once it is whole; its body goes over. What no origin server may take is refused.
  std::optional<RequestRefusal> take(HttpRequest& request);
  // Its body no longer counts among those that are held.
  void release_body() { state_.held_body_bytes -= std::exchange(held_body_bytes_, 0); }

 private:
  using Parser = beast::http::request_parser<beast::http::string_body>;
  bool has_clear_length() const;
  bool hold_body();

  ServerState& state_;
  beast::flat_buffer buffer_;  // read and not yet parsed
  std::optional<Parser> parser_;
  std::uint64_t held_body_bytes_ = 0;
  bool said_continue_ = false;
};

}  // namespace tandem::http_internal
