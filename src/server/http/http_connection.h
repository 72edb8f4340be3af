#pragma once

// Internal to http_server.cpp.

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "server/http/connection_exchange.h"
#include "server/http/request_reader.h"
#include "server/http/server_state.h"
#include "server/http/write_queue.h"

namespace tandem::http_internal {

// One client. Reads all the time, so that its going is seen at once even while a request is being
// answered; requests are answered one after the other. Everything runs on the socket's strand.
template <typename Socket>
class Connection : public AnyConnection,
                   public WriteQueueOwner,
                   public std::enable_shared_from_this<Connection<Socket>> {
 public:
  Connection(Socket socket, std::shared_ptr<ServerState> state)
      : shared_state_(std::move(state)),
        state_(*shared_state_),
        socket_(std::move(socket)),
        deadline_(executor()),
        reader_(state_),
        unsent_(socket_, *this, state_.options.write_timeout_ms) {
    error_code ignored;
    const auto endpoint = plain(socket_).remote_endpoint(ignored);
    if (!ignored) peer_ = address_text(endpoint);
  }
  ~Connection() override {
    const std::lock_guard lock(state_.mutex);
    state_.connections.erase(this);
  }

  void run() {
    {
      const std::lock_guard lock(state_.mutex);
      state_.connections.emplace(this, this->weak_from_this());
    }
    asio::dispatch(executor(), [self = this->shared_from_this()] {
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
  void close_soon() override {
    asio::post(executor(), [self = this->shared_from_this()] { self->close(); });
  }

  // For its exchange.
  auto executor() { return plain(socket_).get_executor(); }
  const HttpServerOptions& options() const { return state_.options; }
  bool is_closed() const { return phase_ == Phase::kClosed; }
  bool is_answering() const { return phase_ == Phase::kAnswering; }
  bool must_close() const { return must_close_; }
  void close_after_answer() { must_close_ = true; }
  std::size_t unsent_bytes() const { return unsent_.unsent_bytes(); }  // any thread
  void write(std::string text) { unsent_.write(std::move(text)); }
  // What has been written since, and what the next write() brings, is the last of this answer.
  void answer_ends() { is_answer_over_ = true; }
  void close() {
    if (phase_ == Phase::kClosed) return;
    phase_ = Phase::kClosed;
    deadline_.cancel();
    unsent_.close();
    error_code ignored;
    plain(socket_).close(ignored);
    if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->connection_closed();
  }

 private:
  using Exchange = ConnectionExchange<Connection>;
  enum class Phase : std::uint8_t { kIdle, kHeader, kBody, kAnswering, kLingering, kClosed };

  static constexpr std::size_t kReadBytes = 16 * 1024;
  static constexpr std::int64_t kLingerMs = 2000;

  std::shared_ptr<void> keep_alive() override { return this->shared_from_this(); }
  void cannot_write() override { close(); }
  void some_is_written() override {
    if (exchange_) exchange_->tell_room();
  }
  // Posted: an answer may be written from within the handler of its request.
  void all_is_written() override {
    if (!std::exchange(is_answer_over_, false)) return;
    asio::post(executor(), [self = this->shared_from_this()] { self->next_request(); });
  }

  void start_request() {
    reader_.start();
    phase_ = Phase::kIdle;
    arm(state_.options.idle_timeout_ms);
    if (reader_.unparsed_bytes() > 0) parse();
    read();
  }

  void read() {
    // While a request is being answered, little is taken of what follows it.
    if (phase_ == Phase::kAnswering && reader_.unparsed_bytes() > kReadBytes) return;
    if (is_reading_ || phase_ == Phase::kClosed) return;
    is_reading_ = true;
    // Not into the reader itself: it may move what it holds meanwhile.
    socket_.async_read_some(asio::buffer(incoming_),
                            [self = this->shared_from_this()](error_code error, std::size_t size) {
                              self->is_reading_ = false;
                              self->on_read(error, size);
                            });
  }

  void on_read(error_code error, std::size_t size) {
    if (phase_ == Phase::kClosed) return;
    if (error) return close();
    if (phase_ != Phase::kLingering) reader_.add(asio::buffer(incoming_, size));
    if (phase_ != Phase::kLingering && phase_ != Phase::kAnswering) parse();
    read();
  }

  void parse() {
    if (phase_ == Phase::kIdle) {
      phase_ = Phase::kHeader;
      arm(state_.options.header_timeout_ms);
    }
    if (const auto refusal = reader_.parse()) return refuse(*refusal);
    if (phase_ == Phase::kHeader && reader_.has_head()) {
      phase_ = Phase::kBody;
      arm(state_.options.body_timeout_ms);
      if (reader_.must_say_continue()) write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    if (reader_.is_whole()) handle();
  }

  void handle() {
    must_close_ = !reader_.is_keep_alive() || !state_.is_accepting;
    HttpRequest request = reader_.head(peer_);
    if (const auto refusal = reader_.take(request)) return refuse(*refusal);
    auto exchange = begin_answer(std::move(request));
    if (!state_.is_over) state_.handler(std::move(exchange));
  }

  void refuse(const RequestRefusal& refusal) {
    must_close_ = true;
    begin_answer(reader_.head(peer_))
        ->respond(state_.options.make_error(refusal.status, refusal.message));
  }

  std::shared_ptr<Exchange> begin_answer(HttpRequest request) {
    deadline_.cancel();
    phase_ = Phase::kAnswering;
    const typename Exchange::Form form{reader_.is_http_1_0(), reader_.is_head()};
    exchange_ = std::make_shared<Exchange>(std::move(request), form, this->shared_from_this());
    return exchange_;
  }

  void next_request() {
    if (phase_ == Phase::kClosed) return;
    exchange_.reset();
    reader_.release_body();
    if (!must_close_ && state_.is_accepting) return start_request();
    // The client gets time to read the answer before its unread bytes make the system reset it.
    phase_ = Phase::kLingering;
    arm(kLingerMs);
    error_code ignored;
    plain(socket_).shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    reader_.drop_rest();
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
      return refuse({408, "the request took too long to arrive"});
    }
    if (phase_ != Phase::kAnswering) close();
  }

  const std::shared_ptr<ServerState> shared_state_;
  ServerState& state_;
  Socket socket_;
  asio::steady_timer deadline_;
  std::string peer_;
  std::array<char, kReadBytes> incoming_;
  RequestReader reader_;
  WriteQueue<Socket> unsent_;
  Phase phase_ = Phase::kIdle;
  bool is_reading_ = false;
  bool must_close_ = false;
  bool is_answer_over_ = false;
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace tandem::http_internal
