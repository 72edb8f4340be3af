#pragma once

// Internal to upstream_client.cpp and response_reader.cpp.

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "fleet/upstream_client.h"

namespace tandem::upstream_internal {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

// A body that gathers what came, to be taken out after each read. Beast's own string body would
// reserve whatever length a server claims.
struct PieceBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool is_request, class Fields>
    reader(beast::http::header<is_request, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>&, error_code& error) { error = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      std::size_t size = 0;
      for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers);
           ++it) {
        const asio::const_buffer part = *it;
        body_.append(static_cast<const char*>(part.data()), part.size());
        size += part.size();
      }
      return size;
    }
    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

// Makes answers of a server's bytes, one after the other. Knows no socket and no time.
class ResponseReader {
 public:
  // An answer is due; to_head: to a request without a body in its answer, whatever it says.
  void start(bool to_head);
  void stop() { parser_.reset(); }
  bool is_started() const { return parser_.has_value(); }

  // Where the next bytes go, and how many came.
  asio::mutable_buffer room() { return buffer_.prepare(kReadBytes); }
  void add(std::size_t size) { buffer_.commit(size); }
  bool has_rest() const { return buffer_.size() > 0; }

  // Takes what is there of this answer. A text: what is wrong with it.
  std::optional<std::string> parse();
  // The connection's end: is it the answer's too, whose length nobody has said?
  bool ends_here();
  std::optional<UpstreamHead> take_head();  // once, as soon as it is there
  std::string take_piece();                 // of the body, what has come since
  bool is_whole() const { return parser_->is_done(); }
  bool is_keep_alive() const { return parser_->get().keep_alive(); }

 private:
  using Parser = beast::http::response_parser<PieceBody>;
  static constexpr std::size_t kReadBytes = 32 * 1024;
  static constexpr std::uint32_t kMaxHeadBytes = 64 * 1024;

  void make_parser();

  beast::flat_buffer buffer_;  // read and not yet parsed
  std::optional<Parser> parser_;
  bool told_head_ = false;
};

}  // namespace tandem::upstream_internal
