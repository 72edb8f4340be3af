#pragma once

// Internal to upstream_client.cpp.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fleet/response_reader.h"
#include "fleet/upstream_call.h"

namespace tandem::upstream_internal {

// One connection: connects, carries calls one after the other, and reads all the time, so that a
// server's going is seen at once, idle or not.
template <typename Socket>
class Connection : public AnyConnection, public std::enable_shared_from_this<Connection<Socket>> {
 public:
  Connection(Socket socket, ConnectionOwner& owner, std::vector<Endpoint> endpoints)
      : owner_(&owner),
        socket_(std::move(socket)),
        timer_(plain(socket_).get_executor()),
        endpoints_(std::move(endpoints)) {}

  // May be called before or after the connection is there.
  void carry(std::shared_ptr<CallState> call) override {
    call_ = std::move(call);
    call_->on_change = [this] { on_call_changed(); };
    is_reused_ = has_served_;
    has_written_ = false;
    began_us_ = monotonic_us();
    reader_.stop();
    arm(due_us());
    if (is_connected_) send();
  }

  void connect() {
    if (is_closed_) return;
    if (next_endpoint_ >= endpoints_.size()) {
      return fail(Kind::kConnect, last_error_.empty() ? "no address" : last_error_);
    }
    error_code ignored;
    plain(socket_).close(ignored);
    plain(socket_).async_connect(endpoints_[next_endpoint_++],
                                 [self = this->shared_from_this()](error_code error) {
                                   if (self->is_closed_) return;
                                   if (!error) return self->on_connected();
                                   self->last_error_ = error.message();
                                   self->connect();
                                 });
  }

  void set_endpoints(std::vector<Endpoint> endpoints) { endpoints_ = std::move(endpoints); }

  void fail(Kind kind, const std::string& message) {
    const auto call = std::exchange(call_, nullptr);
    const bool begin_anew = call && !call->is_over && kind == Kind::kReset && is_reused_ &&
                            !call->has_answer && owner_ != nullptr;
    ConnectionOwner* owner = owner_;
    close();
    if (!call) return;
    call->on_change = nullptr;
    if (begin_anew) return owner->begin_anew(call);
    call->fail(kind, message);
  }

  void close() override {
    if (std::exchange(is_closed_, true)) return;
    const auto self = this->shared_from_this();
    timer_.cancel();
    error_code ignored;
    plain(socket_).close(ignored);
    if (ConnectionOwner* owner = std::exchange(owner_, nullptr)) owner->was_closed(*this);
  }

  // The owner goes: no word to anybody any more.
  void abandon() {
    owner_ = nullptr;
    if (const auto call = std::exchange(call_, nullptr)) {
      call->on_change = nullptr;
      call->is_over = true;
      call->events = {};
    }
    close();
  }

  bool is_idle() const override { return is_connected_ && !is_closed_ && call_ == nullptr; }
  std::int64_t idle_since_us() const override { return idle_since_us_; }

 private:
  void on_connected() {
    error_code ignored;
    plain(socket_).set_option(asio::ip::tcp::no_delay(true), ignored);
    if constexpr (std::is_same_v<Socket, TlsSocket>) {
      socket_.async_handshake(asio::ssl::stream_base::client,
                              [self = this->shared_from_this()](error_code error) {
                                if (self->is_closed_) return;
                                if (error) {
                                  return self->fail(Kind::kConnect, "TLS: " + error.message());
                                }
                                self->on_ready();
                              });
    } else {
      on_ready();
    }
  }

  void on_ready() {
    is_connected_ = true;
    read();
    if (call_) send();
  }

  void send() {
    has_served_ = true;
    reader_.start(call_->request.method == "HEAD");
    const auto body = call_->request.body;
    const std::array<asio::const_buffer, 2> buffers = {
        asio::buffer(call_->head_text), body ? asio::buffer(*body) : asio::const_buffer()};
    arm(due_us());
    asio::async_write(
        socket_, buffers,
        [self = this->shared_from_this(), call = call_](error_code error, std::size_t) {
          // An error shows at the reading end as well, after what was still said.
          if (self->call_ != call) return;
          if (error) {
            self->must_close_ = true;
          } else {
            self->has_written_ = true;
          }
        });
    read();
  }

  void read() {
    if (is_reading_ || is_closed_ || (call_ && call_->is_paused)) return;
    is_reading_ = true;
    socket_.async_read_some(reader_.room(),
                            [self = this->shared_from_this()](error_code error, std::size_t size) {
                              self->is_reading_ = false;
                              if (!self->is_closed_) self->on_read(error, size);
                            });
  }

  void on_read(error_code error, std::size_t size) {
    reader_.add(size);
    last_byte_us_ = monotonic_us();
    // Idle, or its request is not on its way yet: nothing is to come.
    if (!call_ || !reader_.is_started()) return fail(Kind::kReset, "the connection was closed");
    if (size > 0) {
      call_->has_answer = true;
      if (const auto wrong = reader_.parse()) return fail(Kind::kMalformed, *wrong);
      if (!tell()) return;
    }
    if (error) return on_read_error(error);
    read();
  }

  void on_read_error(error_code error) {
    const bool is_end = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
    must_close_ = true;
    if (is_end && reader_.ends_here()) return finish();
    fail(Kind::kReset, is_end ? "the connection was closed" : error.message());
  }

  // What has come, to the call. False: the call is over, or this connection.
  bool tell() {
    const auto self = this->shared_from_this();
    const auto call = call_;
    if (auto head = reader_.take_head()) {
      call->events.on_head(*std::move(head));
      if (call_ != call || call->is_over) return false;
    }
    if (std::string piece = reader_.take_piece(); !piece.empty()) {
      // From here on less time is given than the timer was set for.
      if (!std::exchange(call->has_body, true)) arm(due_us());
      call->events.on_body(std::move(piece));
      if (call_ != call || call->is_over) return false;
    }
    if (!reader_.is_whole()) return true;
    finish();
    return false;
  }

  void finish() {
    const auto self = this->shared_from_this();
    const auto call = std::exchange(call_, nullptr);
    const bool may_keep = reader_.is_keep_alive() && has_written_ && !must_close_ &&
                          !reader_.has_rest() && owner_ != nullptr;
    reader_.stop();
    timer_.cancel();
    call->on_change = nullptr;
    call->is_over = true;
    const auto tell_end = std::move(call->events.on_end);
    if (may_keep) {
      idle_since_us_ = monotonic_us();
      read();
      owner_->became_idle(*this);
    } else {
      close();
    }
    call->events = {};
    if (tell_end) tell_end();
  }

  void on_call_changed() {
    if (call_->is_over) {
      call_->on_change = nullptr;
      call_.reset();
      return close();
    }
    last_byte_us_ = monotonic_us();  // a pause is no stall
    if (!call_->is_paused && is_connected_) read();
  }

  // When the call has to be given up, as things stand.
  std::int64_t due_us() const {
    const UpstreamRequest& request = call_->request;
    std::int64_t due = call_->started_us + request.first_byte_timeout_ms * 1000;
    if (!is_connected_) {
      due = std::min(due, began_us_ + request.connect_timeout_ms * 1000);
    } else if (call_->has_body) {
      due = (call_->is_paused ? monotonic_us() : last_byte_us_) + request.stall_timeout_ms * 1000;
    }
    return request.deadline_us > 0 ? std::min(due, request.deadline_us) : due;
  }

  // One timer, looked at again when it expires: not set anew with every byte.
  void arm(std::int64_t due) {
    timer_.expires_after(
        std::chrono::microseconds(std::max<std::int64_t>(0, due - monotonic_us())));
    timer_.async_wait([self = this->shared_from_this(), call = call_](error_code error) {
      if (!error && !self->is_closed_ && call && self->call_ == call) self->on_timer();
    });
  }

  void on_timer() {
    const std::int64_t now = monotonic_us();
    const std::int64_t due = due_us();
    if (due > now) return arm(due);
    const UpstreamRequest& request = call_->request;
    if (request.deadline_us > 0 && now >= request.deadline_us) {
      return fail(Kind::kDeadline, "the request's time is over");
    }
    if (!is_connected_) return fail(Kind::kConnect, "no connection in time");
    fail(Kind::kTimeout, call_->has_body ? "the answer came to a halt" : "no answer in time");
  }

  ConnectionOwner* owner_;
  Socket socket_;
  asio::steady_timer timer_;
  std::vector<Endpoint> endpoints_;
  std::size_t next_endpoint_ = 0;
  std::string last_error_;
  ResponseReader reader_;
  std::shared_ptr<CallState> call_;
  std::int64_t began_us_ = 0;  // to carry call_
  std::int64_t last_byte_us_ = 0;
  std::int64_t idle_since_us_ = 0;
  bool is_connected_ = false;
  bool is_closed_ = false;
  bool is_reading_ = false;
  bool is_reused_ = false;
  bool has_served_ = false;
  bool has_written_ = false;
  bool must_close_ = false;
};

}  // namespace tandem::upstream_internal
