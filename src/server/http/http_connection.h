#pragma once

// Internal to http_server.cpp: the one source file that is compiled with Boost's headers.

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "server/http/event_loop_asio.h"
#include "server/http/http_server.h"

namespace tandem::http_internal {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using Strand = asio::strand<asio::io_context::executor_type>;
using PlainSocket = asio::basic_stream_socket<asio::generic::stream_protocol, Strand>;
using TlsSocket = asio::ssl::stream<PlainSocket>;

class AnyConnection {
 public:
  virtual ~AnyConnection() = default;
  virtual void close_soon() = 0;
};

// What connections share, kept alive by each of them.
struct ServerState {
  explicit ServerState(HttpServerOptions given) : options(std::move(given)) {}

  HttpServerOptions options;
  std::unique_ptr<EventLoop> own_loop =
      options.loop == nullptr ? std::make_unique<EventLoop>() : nullptr;
  asio::io_context& io = (own_loop ? own_loop.get() : options.loop)->impl().io;
  HttpHandler handler;
  std::atomic<bool> is_accepting{true};
  std::atomic<bool> is_over{false};  // the handler is no more
  std::atomic<std::uint64_t> held_body_bytes{0};
  std::mutex mutex;
  std::map<AnyConnection*, std::weak_ptr<AnyConnection>> connections;  // guarded by mutex
};

// "127.0.0.1", "::1"; "unix" of a Unix socket.
std::string address_text(const asio::generic::stream_protocol::endpoint& endpoint);
std::string header_text(int status, const HttpResponse& response, std::string_view framing,
                        bool keep_alive);
HttpRequest make_request(const beast::http::request<beast::http::string_body>& message,
                         std::string peer);

inline PlainSocket& plain(PlainSocket& socket) {
  return socket;
}
inline PlainSocket& plain(TlsSocket& socket) {
  return socket.next_layer();
}

// One client. Reads all the time, so that its going is seen at once even while a request is being
// answered; requests are answered one after the other. Everything runs on the socket's strand.
template <typename Socket>
class Connection : public AnyConnection, public std::enable_shared_from_this<Connection<Socket>> {
 public:
  Connection(Socket socket, std::shared_ptr<ServerState> state)
      : shared_state_(std::move(state)),
        state_(*shared_state_),
        socket_(std::move(socket)),
        deadline_(plain(socket_).get_executor()),
        write_deadline_(plain(socket_).get_executor()) {
    error_code ignored;
    const auto endpoint = plain(socket_).remote_endpoint(ignored);
    if (!ignored) peer_ = address_text(endpoint);
  }
  ~Connection() override {
    release_body();
    const std::lock_guard lock(state_.mutex);
    state_.connections.erase(this);
  }

  void close_soon() override {
    asio::post(plain(socket_).get_executor(), [self = this->shared_from_this()] { self->close(); });
  }

  void run() {
    {
      const std::lock_guard lock(state_.mutex);
      state_.connections.emplace(this, this->weak_from_this());
    }
    asio::dispatch(plain(socket_).get_executor(), [self = this->shared_from_this()] {
      self->arm(self->state_.options.header_timeout_ms);
      if constexpr (std::is_same_v<Socket, TlsSocket>) {
        self->socket_.async_handshake(asio::ssl::stream_base::server, [self](error_code error) {
          if (error) return self->close();
          self->start_request();
        });
      } else {
        self->start_request();
      }
    });
  }

 private:
  using Parser = beast::http::request_parser<beast::http::string_body>;
  enum class Phase : std::uint8_t { kIdle, kHeader, kBody, kAnswering, kLingering, kClosed };

  static constexpr std::size_t kReadBytes = 16 * 1024;
  static constexpr std::int64_t kLingerMs = 2000;

  // The answer to one request. Made of calls from any thread, carried out on the strand.
  class Exchange : public HttpExchange, public std::enable_shared_from_this<Exchange> {
   public:
    Exchange(HttpRequest request, std::shared_ptr<Connection> connection)
        : request_(std::move(request)), connection_(std::move(connection)) {}

    const HttpRequest& request() const override { return request_; }
    void respond(HttpResponse response) override {
      run([response = std::move(response)](Connection& c, Exchange& e) mutable {
        c.write_whole(e, std::move(response));
      });
    }
    void begin_stream(HttpResponse response) override {
      run([response = std::move(response)](Connection& c, Exchange& e) mutable {
        c.write_begin(e, std::move(response));
      });
    }
    void send(std::string piece) override {
      run([piece = std::move(piece)](Connection& c, Exchange& e) mutable {
        c.write_piece(e, std::move(piece));
      });
    }
    void end_stream() override {
      run([](Connection& c, Exchange& e) { c.write_end(e); });
    }
    void abort() override {
      run([](Connection& c, Exchange&) { c.close(); });
    }
    std::size_t unsent_bytes() const override { return connection_->unsent_bytes_; }
    void when_there_is_room(std::function<void()> task) override {
      run([task = std::move(task)](Connection& c, Exchange& e) mutable {
        e.room_ = std::move(task);
        c.tell_room();
      });
    }
    void on_gone(std::function<void()> callback) override {
      run_always([callback = std::move(callback)](Connection& c, Exchange& e) mutable {
        if (e.is_over_) return;
        if (c.phase_ == Phase::kClosed) return callback();
        e.gone_ = std::move(callback);
      });
    }
    void post(std::function<void()> task) override {
      run_always([task = std::move(task)](Connection&, Exchange&) { task(); });
    }
    void post_after(std::int64_t delay_ms, std::function<void()> task) override {
      run_always([delay_ms, task = std::move(task)](Connection& c, Exchange& e) {
        e.timer_.emplace(plain(c.socket_).get_executor());
        e.timer_->expires_after(std::chrono::milliseconds(delay_ms));
        e.timer_->async_wait([exchange = e.shared_from_this(), task](error_code error) {
          if (!error && !exchange->is_over_) task();
        });
      });
    }

   private:
    friend class Connection;

    template <typename Task>
    void run_always(Task task) {
      auto self = this->shared_from_this();
      // Dispatched, not posted, where the strand is already held: order is kept either way.
      asio::dispatch(plain(connection_->socket_).get_executor(),
                     [self, task = std::move(task)]() mutable { task(*self->connection_, *self); });
    }
    template <typename Task>
    void run(Task task) {
      run_always([task = std::move(task)](Connection& c, Exchange& e) mutable {
        if (!e.is_over_ && c.phase_ == Phase::kAnswering) task(c, e);
      });
    }

    const HttpRequest request_;
    const std::shared_ptr<Connection> connection_;
    // On the strand only.
    bool is_over_ = false;
    bool is_streaming_ = false;
    int status_ = 0;
    std::int64_t sent_bytes_ = 0;
    std::function<void()> gone_;
    std::function<void()> room_;
    std::optional<asio::steady_timer> timer_;
  };

  void start_request() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(state_.options.max_header_bytes));
    parser_->body_limit(state_.options.max_body_bytes);
    parser_->eager(true);
    said_continue_ = false;
    phase_ = Phase::kIdle;
    arm(state_.options.idle_timeout_ms);
    if (buffer_.size() > 0) {
      parse();
    }
    read();
  }

  void read() {
    // While a request is being answered, little is taken of what follows it.
    if (phase_ == Phase::kAnswering && buffer_.size() > kReadBytes) return;
    if (is_reading_ || phase_ == Phase::kClosed) return;
    is_reading_ = true;
    // Not into buffer_ itself: the parser may take from it meanwhile, which moves what it holds.
    socket_.async_read_some(asio::buffer(incoming_),
                            [self = this->shared_from_this()](error_code error, std::size_t size) {
                              self->is_reading_ = false;
                              self->on_read(error, size);
                            });
  }

  void on_read(error_code error, std::size_t size) {
    if (phase_ == Phase::kClosed) return;
    if (error) return close();
    buffer_.commit(asio::buffer_copy(buffer_.prepare(size), asio::buffer(incoming_, size)));
    if (phase_ == Phase::kLingering) {
      buffer_.consume(buffer_.size());
    } else if (phase_ != Phase::kAnswering) {
      parse();
    }
    read();
  }

  void parse() {
    if (phase_ == Phase::kIdle) {
      phase_ = Phase::kHeader;
      arm(state_.options.header_timeout_ms);
    }
    error_code error;
    while (buffer_.size() > 0 && !parser_->is_done()) {
      const std::size_t used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
      if (error == beast::http::error::need_more) {
        error = {};
        break;
      }
      if (error) break;
    }
    if (error) return refuse(error);
    if (phase_ == Phase::kHeader && parser_->is_header_done()) {
      if (!has_clear_length()) return fail(400, "the body's length is not clear");
      phase_ = Phase::kBody;
      arm(state_.options.body_timeout_ms);
      say_continue();
    }
    if (phase_ == Phase::kBody && !hold_body())
      return fail(503, "too many requests arrive at once");
    if (parser_->is_done()) handle();
  }

  // Counts the body, as long as it says it will be, among those that are held. False: all of them
  // together are too long.
  bool hold_body() {
    const std::uint64_t announced = parser_->content_length().value_or(0);
    const std::uint64_t bytes = std::max<std::uint64_t>(announced, parser_->get().body().size());
    if (bytes <= held_body_bytes_) return true;
    const std::uint64_t more = bytes - std::exchange(held_body_bytes_, bytes);
    const std::uint64_t all = state_.held_body_bytes.fetch_add(more) + more;
    return all <= std::max(state_.options.max_held_body_bytes, state_.options.max_body_bytes);
  }
  void release_body() { state_.held_body_bytes -= std::exchange(held_body_bytes_, 0); }

  void refuse(error_code error) {
    using Reason = beast::http::error;
    if (error == Reason::header_limit) return fail(431, "the request's header is too large");
    if (error == Reason::body_limit) return fail(413, "the request's body is too large");
    fail(400, "malformed HTTP request: " + error.message());
  }

  // An answer of the server's own, and the connection's end.
  void fail(int status, const std::string& message) {
    must_close_ = true;
    HttpRequest request = make_request(parser_->get(), peer_);
    auto exchange = std::make_shared<Exchange>(std::move(request), this->shared_from_this());
    begin_answer(exchange);
    exchange->respond(state_.options.make_error(status, message));
  }

  // Lengths that a proxy in front may read otherwise are how requests are smuggled (RFC 9112, 6.3):
  // a transfer coding is "chunked" alone, and never beside a length. Beast refuses some of it.
  bool has_clear_length() const {
    using beast::http::field;
    const auto& message = parser_->get();
    const auto codings = message.count(field::transfer_encoding);
    if (codings == 0) return true;
    return codings == 1 && message.version() == 11 && message.count(field::content_length) == 0 &&
           beast::iequals(message[field::transfer_encoding], "chunked");
  }

  void say_continue() {
    const auto& message = parser_->get();
    if (parser_->is_done() || said_continue_ || message.version() < 11) return;
    if (!beast::iequals(message[beast::http::field::expect], "100-continue")) return;
    said_continue_ = true;
    write("HTTP/1.1 100 Continue\r\n\r\n");
  }

  void handle() {
    const auto& message = parser_->get();
    must_close_ = !message.keep_alive() || !state_.is_accepting;
    is_http_1_0_ = message.version() < 11;
    is_head_ = message.method() == beast::http::verb::head;
    // Exactly one Host, as RFC 9112 demands: what lies in front may have chosen by another.
    if (!is_http_1_0_ && message.count(beast::http::field::host) != 1) {
      return fail(400, "the request needs exactly one Host header");
    }
    HttpRequest request = make_request(message, peer_);
    const auto target = message.target();
    if (!parse_target({target.data(), target.size()}, request)) {
      return fail(400, "the request's target is malformed");
    }
    request.body = std::move(parser_->get().body());
    auto exchange = std::make_shared<Exchange>(std::move(request), this->shared_from_this());
    begin_answer(exchange);
    if (!state_.is_over) state_.handler(std::move(exchange));
  }

  void begin_answer(const std::shared_ptr<Exchange>& exchange) {
    deadline_.cancel();
    phase_ = Phase::kAnswering;
    exchange_ = exchange;
  }

  void write_whole(Exchange& exchange, HttpResponse response) {
    if (exchange.is_streaming_) return;
    if (state_.options.decorate) state_.options.decorate(exchange.request_, response);
    exchange.status_ = response.status;
    const std::string length = "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    const bool has_body = response.status != 204 && response.status != 304;
    std::string text = header_text(response.status, response, has_body ? length : "", !must_close_);
    if (!is_head_ && has_body) text += response.body;
    exchange.sent_bytes_ += static_cast<std::int64_t>(text.size());
    finish_answer(exchange, true);
    write(std::move(text));
  }

  void write_begin(Exchange& exchange, HttpResponse response) {
    if (exchange.is_streaming_) return;
    exchange.is_streaming_ = true;
    if (state_.options.decorate) state_.options.decorate(exchange.request_, response);
    exchange.status_ = response.status;
    if (is_http_1_0_) must_close_ = true;
    const std::string first = std::exchange(response.body, {});
    write(header_text(response.status, response,
                      is_http_1_0_ ? "" : "Transfer-Encoding: chunked\r\n", !must_close_));
    if (!first.empty()) write_piece(exchange, first);
  }

  void write_piece(Exchange& exchange, std::string piece) {
    if (!exchange.is_streaming_ || piece.empty() || is_head_) return;
    exchange.sent_bytes_ += static_cast<std::int64_t>(piece.size());
    if (is_http_1_0_) {
      write(std::move(piece));
    } else {
      char size[20];
      std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
      write(size + piece + "\r\n");
    }
    if (unsent_bytes_ > state_.options.max_unsent_bytes) close();
  }

  void write_end(Exchange& exchange) {
    if (!exchange.is_streaming_) return;
    finish_answer(exchange, true);
    write(is_http_1_0_ || is_head_ ? "" : "0\r\n\r\n");
  }

  void finish_answer(Exchange& exchange, bool complete) {
    if (std::exchange(exchange.is_over_, true)) return;
    exchange.gone_ = nullptr;
    exchange.room_ = nullptr;
    if (exchange.timer_) exchange.timer_->cancel();
    answer_done_ = true;
    if (state_.options.on_complete) {
      state_.options.on_complete(exchange.request_, exchange.status_, exchange.sent_bytes_,
                                 complete);
    }
  }

  void write(std::string text) {
    if (!text.empty()) {
      unsent_bytes_ += text.size();
      unsent_.push_back(std::move(text));
    }
    if (!is_writing_) write_next();
  }

  void write_next() {
    if (phase_ == Phase::kClosed) return;
    if (unsent_.empty()) {
      write_deadline_.cancel();
      if (std::exchange(answer_done_, false)) next_request();
      return;
    }
    // What has gathered meanwhile goes out together.
    being_written_.clear();
    while (!unsent_.empty() && being_written_.size() < 64 * 1024) {
      being_written_ += unsent_.front();
      unsent_.pop_front();
    }
    is_writing_ = true;
    arm_write();
    asio::async_write(socket_, asio::buffer(being_written_),
                      [self = this->shared_from_this()](error_code error, std::size_t) {
                        self->is_writing_ = false;
                        self->unsent_bytes_ -= self->being_written_.size();
                        if (error) return self->close();
                        self->write_next();
                        self->tell_room();
                      });
  }

  void tell_room() {
    if (!exchange_ || !exchange_->room_ || unsent_bytes_ > HttpExchange::kFullBytes / 2) return;
    std::exchange(exchange_->room_, nullptr)();
  }

  void next_request() {
    exchange_.reset();
    release_body();
    if (!must_close_ && state_.is_accepting) return start_request();
    // The client gets time to read the answer before its unread bytes make the system reset it.
    phase_ = Phase::kLingering;
    arm(kLingerMs);
    error_code ignored;
    plain(socket_).shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    buffer_.consume(buffer_.size());
    read();
  }

  void arm(std::int64_t timeout_ms) {
    deadline_.expires_after(std::chrono::milliseconds(timeout_ms));
    deadline_.async_wait([weak = this->weak_from_this()](error_code error) {
      const auto self = weak.lock();
      if (!error && self) self->on_deadline();
    });
  }

  void on_deadline() {
    // A timer that was set anew may still deliver its old expiry.
    if (deadline_.expiry() > std::chrono::steady_clock::now()) return;
    if (phase_ == Phase::kHeader || phase_ == Phase::kBody) {
      return fail(408, "the request took too long to arrive");
    }
    if (phase_ != Phase::kAnswering) close();
  }

  void arm_write() {
    write_deadline_.expires_after(std::chrono::milliseconds(state_.options.write_timeout_ms));
    write_deadline_.async_wait([weak = this->weak_from_this()](error_code error) {
      const auto self = weak.lock();
      if (error || !self) return;
      if (self->write_deadline_.expiry() <= std::chrono::steady_clock::now()) self->close();
    });
  }

  void close() {
    if (phase_ == Phase::kClosed) return;
    phase_ = Phase::kClosed;
    deadline_.cancel();
    write_deadline_.cancel();
    error_code ignored;
    plain(socket_).close(ignored);
    if (const auto exchange = std::exchange(exchange_, nullptr)) {
      const auto gone = std::exchange(exchange->gone_, nullptr);
      const bool was_over = exchange->is_over_;
      finish_answer(*exchange, false);
      if (gone && !was_over) gone();
    }
  }

  const std::shared_ptr<ServerState> shared_state_;
  ServerState& state_;
  Socket socket_;
  asio::steady_timer deadline_;
  asio::steady_timer write_deadline_;
  std::string peer_;
  std::array<char, kReadBytes> incoming_;
  beast::flat_buffer buffer_;  // read and not yet parsed
  std::optional<Parser> parser_;
  std::uint64_t held_body_bytes_ = 0;
  Phase phase_ = Phase::kIdle;
  bool is_reading_ = false;
  bool said_continue_ = false;
  bool must_close_ = false;
  bool is_http_1_0_ = false;
  bool is_head_ = false;
  std::shared_ptr<Exchange> exchange_;
  std::deque<std::string> unsent_;
  std::string being_written_;
  std::atomic<std::size_t> unsent_bytes_ = 0;
  bool is_writing_ = false;
  bool answer_done_ = false;
};

}  // namespace tandem::http_internal
