#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>

#include "base/clock.h"
#include "server/http/test_client_for_test.h"

namespace tandem {

TestClient::TestClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ADD_FAILURE() << "cannot connect to port " << port;
    is_closed_ = true;
  }
}

TestClient::TestClient(const std::string& unix_path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  unix_path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ADD_FAILURE() << "cannot connect to " << unix_path;
    is_closed_ = true;
  }
}

TestClient::~TestClient() {
  ::close(socket_);
}

void TestClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::string TestClient::read_until(std::string_view end, int timeout_ms) {
  const std::int64_t limit = monotonic_us() + std::int64_t{timeout_ms} * 1000;
  while (!is_closed_) {
    const std::size_t found = end.empty() ? std::string::npos : unread_.find(end);
    if (found != std::string::npos) {
      std::string text = unread_.substr(0, found + end.size());
      unread_.erase(0, found + end.size());
      return text;
    }
    pollfd entry{socket_, POLLIN, 0};
    const std::int64_t left_ms = (limit - monotonic_us()) / 1000;
    if (left_ms <= 0 || ::poll(&entry, 1, static_cast<int>(left_ms)) <= 0) break;
    char buffer[16384];
    const ssize_t size = ::recv(socket_, buffer, sizeof buffer, 0);
    if (size <= 0) {
      is_closed_ = true;
    } else {
      unread_.append(buffer, static_cast<std::size_t>(size));
    }
  }
  return std::exchange(unread_, {});
}

TestResponse parse_response(const std::string& text) {
  TestResponse response;
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos || !text.starts_with("HTTP/1.1 ")) return response;
  response.status = std::atoi(text.c_str() + 9);
  response.head = text.substr(0, end + 2);
  std::string rest = text.substr(end + 4);
  if (response.head.find("Transfer-Encoding: chunked") == std::string::npos) {
    response.body = rest;
    return response;
  }
  std::size_t at = 0;
  while (at < rest.size()) {
    const std::size_t size = std::strtoul(rest.c_str() + at, nullptr, 16);
    at = rest.find("\r\n", at);
    if (size == 0 || at == std::string::npos) break;
    response.body += rest.substr(at + 2, size);
    at += 2 + size + 2;
  }
  return response;
}

TestResponse fetch(std::uint16_t port, std::string_view method, std::string_view target,
                   std::string_view body, std::string_view headers) {
  TestClient client(port);
  std::string request = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}",
                                    method, target, headers);
  if (!body.empty()) {
    request += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  }
  client.send(request + "\r\n" + std::string(body));
  return parse_response(client.read_all(30'000));
}

}  // namespace tandem
