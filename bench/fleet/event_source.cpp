#include "event_source.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace tandem::bench {

std::int64_t steady_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

struct EventSource::Client {
  int socket = -1;
  std::string unread;
  std::string unsent;
  std::int64_t num_events = 0;
  bool is_streaming = false;
};

EventSource::EventSource()
    : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      next_(clients_.end()) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool listens =
      ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(listener_, 1024) == 0;
  TANDEM_CHECK(listens && epoll_ >= 0, "no port");
  socklen_t size = sizeof address;
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener_}};
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
  thread_ = std::thread([this] { run(); });
}

EventSource::~EventSource() {
  is_over_ = true;
  thread_.join();
  while (!clients_.empty()) drop(clients_.begin()->first);
  ::close(listener_);
  ::close(epoll_);
}

void EventSource::set_pace(const Pace& pace) {
  events_per_s_ = pace.events_per_s;
  in_bursts_ = pace.in_bursts;
}

void EventSource::run() {
  ::prctl(PR_SET_TIMERSLACK, 1);  // wakes when it was asked to, to the microsecond
  std::array<epoll_event, 64> events{};
  while (!is_over_) {
    const std::int64_t wait_ns = std::clamp<std::int64_t>(due_ns_ - steady_ns(), 0, 10'000'000);
    const timespec wait{.tv_sec = 0, .tv_nsec = wait_ns};
    const int count = ::epoll_pwait2(epoll_, events.data(), events.size(), &wait, nullptr);
    for (int i = 0; i < count; ++i) {
      const int socket = events[static_cast<std::size_t>(i)].data.fd;
      if (socket == listener_) {
        accept_all();
      } else if (const auto client = clients_.find(socket); client != clients_.end()) {
        read(*client->second);
      }
    }
    send_due(steady_ns());
  }
}

void EventSource::accept_all() {
  int socket = -1;
  while ((socket = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{.events = EPOLLIN, .data = {.fd = socket}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
    clients_[socket] = std::make_unique<Client>();
    clients_[socket]->socket = socket;
  }
}

// Requests are small: what stands behind a head, a body, is not looked at.
void EventSource::read(Client& client) {
  std::array<char, 16384> buffer;
  const ssize_t got = ::recv(client.socket, buffer.data(), buffer.size(), 0);
  if (got <= 0) return drop(client.socket);
  client.unread.append(buffer.data(), static_cast<std::size_t>(got));
  if (client.unread.find("\r\n\r\n") == std::string::npos) return;
  const bool is_post = client.unread.starts_with("POST");
  client.unread.clear();
  if (client.is_streaming) return;
  const std::string_view answer =
      is_post ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                "Transfer-Encoding: chunked\r\n\r\n"
              : "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
  ::send(client.socket, answer.data(), answer.size(), MSG_NOSIGNAL);
  client.is_streaming = is_post;
}

void EventSource::send_due(std::int64_t now_ns) {
  // After a pause, time that nobody read in is not made up for.
  if (now_ns - due_ns_ > 100'000'000) due_ns_ = now_ns;
  const bool in_bursts = in_bursts_;
  const auto num_streams = static_cast<double>(std::max<std::size_t>(1, clients_.size()));
  const double gap_ns = 1e9 / events_per_s_ * (in_bursts ? num_streams : 1);
  while (due_ns_ <= now_ns) {
    due_ns_ += static_cast<std::int64_t>(gap_ns);
    const std::size_t count = in_bursts ? clients_.size() : 1;
    for (std::size_t i = 0; i < count && !clients_.empty(); ++i) {
      if (next_ == clients_.end()) next_ = clients_.begin();
      send_event(*(next_++)->second);
    }
  }
}

// As long as an event of a chat usually is.
void EventSource::send_event(Client& client) {
  if (!client.is_streaming) return;
  if (client.unsent.empty()) {
    const std::string event = fmt::format(
        "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\","
        "\"created\":1700000000,\"model\":\"m\",\"n\":{:010},\"t\":{:020},"
        "\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word\"}},\"finish_reason\":null}}]}}"
        "\n\n",
        client.num_events++, steady_ns());
    client.unsent = fmt::format("{:x}\r\n{}\r\n", event.size(), event);
  } else {
    ++num_held_back_;
  }
  const ssize_t sent =
      ::send(client.socket, client.unsent.data(), client.unsent.size(), MSG_NOSIGNAL);
  if (sent > 0) client.unsent.erase(0, static_cast<std::size_t>(sent));
}

void EventSource::drop(int socket) {
  const auto client = clients_.find(socket);
  if (next_ == client) ++next_;
  clients_.erase(client);
  ::close(socket);
}

}  // namespace tandem::bench
