#pragma once

// Internal to http_server.cpp.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "server/http/server_state.h"

namespace tandem::http_internal {

// Whom a queue tells what has become of its text, on the socket's strand.
class WriteQueueOwner {
 public:
  virtual ~WriteQueueOwner() = default;
  virtual std::shared_ptr<void> keep_alive() = 0;  // queue and socket, while something is written
  virtual void all_is_written() = 0;               // maybe from within write()
  virtual void some_is_written() = 0;              // never from within write()
  virtual void cannot_write() = 0;                 // the same: broken, or nothing read in time
};

// What is still to go out to one client, in order. What the socket takes at once is written at
// once, without a turn of the event loop or a timer; the rest as the client reads. On the strand.
template <typename Socket>
class WriteQueue {
 public:
  // The client has to take something every `timeout_ms`. Socket and owner must outlive this.
  WriteQueue(Socket& socket, WriteQueueOwner& owner, std::int64_t timeout_ms)
      : socket_(socket),
        owner_(owner),
        timeout_(timeout_ms),
        deadline_(plain(socket).get_executor()) {
    error_code ignored;
    if constexpr (kWritesAtOnce) socket_.non_blocking(true, ignored);
  }

  void write(std::string text) {
    if (!text.empty()) {
      unsent_bytes_ += text.size();
      unsent_.push_back(std::move(text));
    }
    if (!is_writing_) write_next();
  }
  // Nothing more goes out, and nobody is told anything.
  void close() {
    is_closed_ = true;
    deadline_.cancel();
  }
  // Any thread.
  std::size_t unsent_bytes() const { return unsent_bytes_; }

 private:
  // TLS may need to read before it can write.
  static constexpr bool kWritesAtOnce = std::is_same_v<Socket, PlainSocket>;
  static constexpr std::size_t kPieceBytes = 64 * 1024;

  void write_next() {
    while (!is_closed_) {
      if (written_ == piece_.size() && !gather()) {
        deadline_.cancel();
        return owner_.all_is_written();
      }
      if (!write_at_once()) return write_later();
    }
  }

  // What has come meanwhile goes out together. False: there is nothing.
  bool gather() {
    written_ = 0;
    piece_.clear();
    while (!unsent_.empty() && piece_.size() < kPieceBytes) {
      if (piece_.empty()) {
        piece_.swap(unsent_.front());
      } else {
        piece_ += unsent_.front();
      }
      unsent_.pop_front();
    }
    return !piece_.empty();
  }

  // False: the socket takes nothing now. Errors are left for write_later() to find, whose end is no
  // part of anybody's call to write().
  bool write_at_once() {
    if constexpr (kWritesAtOnce) {
      error_code error;
      const std::size_t size = socket_.write_some(rest(), error);
      written_ += size;
      unsent_bytes_ -= size;
      return !error;
    }
    return false;
  }

  void write_later() {
    is_writing_ = true;
    arm();
    socket_.async_write_some(
        rest(), [this, kept = owner_.keep_alive()](error_code error, std::size_t size) {
          is_writing_ = false;
          written_ += size;
          unsent_bytes_ -= size;
          if (is_closed_) return;
          if (error) return owner_.cannot_write();
          write_next();
          owner_.some_is_written();
        });
  }

  asio::const_buffer rest() const {
    return asio::buffer(piece_.data() + written_, piece_.size() - written_);
  }

  void arm() {
    deadline_.expires_after(timeout_);
    deadline_.async_wait([this, weak = std::weak_ptr<void>(owner_.keep_alive())](error_code error) {
      const auto kept = weak.lock();
      if (error || !kept || is_closed_ || !is_writing_) return;
      // One that was set anew may still deliver its old expiry.
      if (deadline_.expiry() <= std::chrono::steady_clock::now()) owner_.cannot_write();
    });
  }

  Socket& socket_;
  WriteQueueOwner& owner_;
  const std::chrono::milliseconds timeout_;
  asio::steady_timer deadline_;
  std::deque<std::string> unsent_;
  std::string piece_;        // taken from unsent_, and on its way
  std::size_t written_ = 0;  // of piece_
  std::atomic<std::size_t> unsent_bytes_ = 0;
  bool is_writing_ = false;  // the socket is waited for
  bool is_closed_ = false;
};

}  // namespace tandem::http_internal
