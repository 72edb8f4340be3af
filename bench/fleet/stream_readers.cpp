#include "stream_readers.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "event_source.h"

namespace tandem::bench {
namespace {

constexpr std::string_view kNumber = "\"n\":";
constexpr std::string_view kTime = ",\"t\":";
constexpr std::size_t kNumberDigits = 10;
constexpr std::size_t kTimeDigits = 20;
constexpr double kStartSeconds = 20;

[[noreturn]] void fail(const std::string& what) {
  fmt::print(stderr, "{}\n", what);
  std::exit(1);
}

std::int64_t number_at(std::string_view text, std::size_t at, std::size_t digits) {
  std::int64_t number = -1;
  std::from_chars(text.data() + at, text.data() + at + digits, number);
  return number;
}

int connect_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    fail(fmt::format("nobody listens on port {}", port));
  }
  const std::string body = R"({"model":"m","prompt":"p","stream":true})";
  const std::string request = fmt::format(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
      body.size(), body);
  ::send(socket, request.data(), request.size(), MSG_NOSIGNAL);
  return socket;
}

class Readers {
 public:
  Readers(std::uint16_t port, int count) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    for (int i = 0; i < count; ++i) {
      streams_.push_back({.socket = connect_to(port), .unread = {}, .next = -1});
      epoll_event event{.events = EPOLLIN, .data = {.u32 = static_cast<std::uint32_t>(i)}};
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, streams_.back().socket, &event);
    }
  }
  ~Readers() {
    for (const Stream& stream : streams_) ::close(stream.socket);
    ::close(epoll_);
  }

  Readings read_for(double seconds) {
    const std::int64_t begin = steady_ns();
    while (num_started_ < streams_.size()) {
      if (static_cast<double>(steady_ns() - begin) > kStartSeconds * 1e9) {
        fail(fmt::format("{} of {} streams began: {}", num_started_, streams_.size(),
                         streams_[0].unread.substr(0, 300)));
      }
      read_some();
    }
    readings_ = {};
    const std::int64_t started = steady_ns();
    const auto end = started + static_cast<std::int64_t>(seconds * 1e9);
    while (steady_ns() < end) read_some();
    readings_.seconds = static_cast<double>(steady_ns() - started) / 1e9;
    std::ranges::sort(readings_.latency_us);
    return std::move(readings_);
  }

 private:
  struct Stream {
    int socket;
    std::string unread;
    std::int64_t next;  // number of the event that is due; -1: none has come
  };

  void read_some() {
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(epoll_, events.data(), events.size(), 100);
    for (int i = 0; i < count; ++i) {
      Stream& stream = streams_[events[static_cast<std::size_t>(i)].data.u32];
      std::array<char, 16384> buffer;
      const ssize_t got = ::recv(stream.socket, buffer.data(), buffer.size(), 0);
      if (got <= 0) fail("a stream ended: " + stream.unread.substr(0, 300));
      stream.unread.append(buffer.data(), static_cast<std::size_t>(got));
      take_events(stream, steady_ns());
    }
  }

  void take_events(Stream& stream, std::int64_t now_ns) {
    const std::string_view text = stream.unread;
    std::size_t done = 0;
    for (std::size_t at = 0; (at = text.find(kNumber, done)) != std::string_view::npos;) {
      const std::size_t time = at + kNumber.size() + kNumberDigits + kTime.size();
      if (time + kTimeDigits > text.size()) break;
      const std::int64_t number = number_at(text, at + kNumber.size(), kNumberDigits);
      if (stream.next < 0) {
        ++num_started_;
      } else if (number != stream.next) {
        ++readings_.num_wrong;
      }
      stream.next = number + 1;
      readings_.latency_us.push_back(
          static_cast<double>(now_ns - number_at(text, time, kTimeDigits)) / 1e3);
      done = time + kTimeDigits;
    }
    stream.unread.erase(0, done);
  }

  int epoll_;
  std::vector<Stream> streams_;
  std::size_t num_started_ = 0;
  Readings readings_;
};

}  // namespace

double Readings::quantile_us(double share) const {
  if (latency_us.empty()) return 0;
  const auto at = static_cast<std::size_t>(share * static_cast<double>(latency_us.size()));
  return latency_us[std::min(at, latency_us.size() - 1)];
}

Readings read_streams(std::uint16_t port, int num_streams, double seconds) {
  return Readers(port, num_streams).read_for(seconds);
}

}  // namespace tandem::bench
