#pragma once

// Internal to http_server.cpp.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/http/server_state.h"

namespace tandem::http_internal {

// The answer to one request of a connection. Made of calls from any thread, carried out on the
// connection's strand, where everything private happens.
template <typename Connection>
class ConnectionExchange : public HttpExchange,
                           public std::enable_shared_from_this<ConnectionExchange<Connection>> {
 public:
  // What the request says about how it may be answered.
  struct Form {
    bool is_http_1_0 = false;  // knows no chunks
    bool is_head = false;      // wants no body
  };

  ConnectionExchange(HttpRequest request, Form form, std::shared_ptr<Connection> connection)
      : request_(std::move(request)), form_(form), connection_(std::move(connection)) {}

  const HttpRequest& request() const override { return request_; }
  void respond(HttpResponse response) override {
    run([this, response = std::move(response)]() mutable { write_whole(std::move(response)); });
  }
  void begin_stream(HttpResponse response) override {
    run([this, response = std::move(response)]() mutable { write_begin(std::move(response)); });
  }
  void send(std::string piece) override {
    run([this, piece = std::move(piece)] { write_piece(piece); });
  }
  void end_stream() override {
    run([this] { write_end(); });
  }
  void abort() override {
    run([this] { connection_->close(); });
  }
  std::size_t unsent_bytes() const override { return connection_->unsent_bytes(); }
  void when_there_is_room(std::function<void()> task) override {
    run([this, task = std::move(task)]() mutable {
      room_ = std::move(task);
      tell_room();
    });
  }
  void on_gone(std::function<void()> callback) override {
    run_always([this, callback = std::move(callback)]() mutable {
      if (is_over_) return;
      if (connection_->is_closed()) return callback();
      gone_ = std::move(callback);
    });
  }
  void post(std::function<void()> task) override { run_always(std::move(task)); }
  void post_after(std::int64_t delay_ms, std::function<void()> task) override {
    run_always([this, delay_ms, task = std::move(task)] {
      timer_.emplace(connection_->executor());
      timer_->expires_after(std::chrono::milliseconds(delay_ms));
      timer_->async_wait([self = this->shared_from_this(), task](error_code error) {
        if (!error && !self->is_over_) task();
      });
    });
  }

  // The connection's word, on its strand: it can take more; it is gone.
  void tell_room() {
    if (!room_ || connection_->unsent_bytes() > kFullBytes / 2) return;
    std::exchange(room_, nullptr)();
  }
  void connection_closed() {
    const auto gone = std::exchange(gone_, nullptr);
    const bool was_over = is_over_;
    finish(false);
    if (gone && !was_over) gone();
  }

 private:
  template <typename Task>
  void run_always(Task task) {
    // Dispatched, not posted, where the strand is already held: order is kept either way.
    asio::dispatch(connection_->executor(),
                   [self = this->shared_from_this(), task = std::move(task)]() mutable { task(); });
  }
  template <typename Task>
  void run(Task task) {
    run_always([this, task = std::move(task)]() mutable {
      if (!is_over_ && connection_->is_answering()) task();
    });
  }

  void write_whole(HttpResponse response) {
    if (is_streaming_) return;
    decorate(response);
    const std::string length = "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    const bool has_body = response.status != 204 && response.status != 304;
    std::string text =
        header_text(response.status, response, has_body ? length : "", !connection_->must_close());
    if (!form_.is_head && has_body) text += response.body;
    sent_bytes_ += static_cast<std::int64_t>(text.size());
    finish(true);
    connection_->write(std::move(text));
  }

  void write_begin(HttpResponse response) {
    if (is_streaming_) return;
    is_streaming_ = true;
    decorate(response);
    if (form_.is_http_1_0) connection_->close_after_answer();
    const std::string first = std::exchange(response.body, {});
    connection_->write(header_text(response.status, response,
                                   form_.is_http_1_0 ? "" : "Transfer-Encoding: chunked\r\n",
                                   !connection_->must_close()));
    if (!first.empty()) write_piece(first);
  }

  void write_piece(const std::string& piece) {
    if (!is_streaming_ || piece.empty() || form_.is_head) return;
    sent_bytes_ += static_cast<std::int64_t>(piece.size());
    char size[20] = "";
    if (!form_.is_http_1_0) std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
    std::string text;
    text.reserve(piece.size() + sizeof size + 2);
    text += size;
    text += piece;
    if (!form_.is_http_1_0) text += "\r\n";
    connection_->write(std::move(text));
    if (connection_->unsent_bytes() > connection_->options().max_unsent_bytes) connection_->close();
  }

  void write_end() {
    if (!is_streaming_) return;
    finish(true);
    connection_->write(form_.is_http_1_0 || form_.is_head ? "" : "0\r\n\r\n");
  }

  void decorate(HttpResponse& response) {
    const auto& options = connection_->options();
    if (options.decorate) options.decorate(request_, response);
    status_ = response.status;
  }

  void finish(bool is_complete) {
    if (std::exchange(is_over_, true)) return;
    gone_ = nullptr;
    room_ = nullptr;
    if (timer_) timer_->cancel();
    connection_->answer_ends();
    const auto& options = connection_->options();
    if (options.on_complete) options.on_complete(request_, status_, sent_bytes_, is_complete);
  }

  const HttpRequest request_;
  const Form form_;
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

}  // namespace tandem::http_internal
