#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tandem {

// A connection to the loopback address, or to a Unix socket, for tests: sends bytes as they are,
// reads what comes.
class TestClient {
 public:
  explicit TestClient(std::uint16_t port);
  explicit TestClient(const std::string& unix_path);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  void send(std::string_view bytes);
  // Reads until `end` has come, the connection has closed or `timeout_ms` have passed.
  std::string read_until(std::string_view end, int timeout_ms = 10'000);
  // Reads until the connection closes.
  std::string read_all(int timeout_ms = 10'000) { return read_until({}, timeout_ms); }
  bool is_closed() const { return is_closed_; }

 private:
  int socket_;
  bool is_closed_ = false;
  std::string unread_;
};

struct TestResponse {
  int status = 0;
  std::string head;
  std::string body;  // chunks joined
};

// One request on a connection of its own. headers: whole lines, "\r\n" behind each.
TestResponse fetch(std::uint16_t port, std::string_view method, std::string_view target,
                   std::string_view body = {}, std::string_view headers = {});
// Reads head and body out of what a connection said until it closed.
TestResponse parse_response(const std::string& text);

}  // namespace tandem
