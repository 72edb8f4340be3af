// A stand-in for `tandem fleet` in router_bench that reads bytes from its upstream and writes them
// to its client, and does nothing else: what the way itself costs on a machine.
//
//   bare_relay fleet FILE    the upstream's port is the one in the file's URL

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int new_socket() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return socket;
}

class Relay {
 public:
  explicit Relay(std::uint16_t upstream) : upstream_(upstream) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, plain, size) != 0 || ::listen(listener_, 1024) != 0) std::exit(1);
    ::getsockname(listener_, plain, &size);
    watch(listener_);
    fmt::print(stderr, "fleet on http://127.0.0.1:{}\n", ntohs(address.sin_port));
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 128> events{};
    while (true) {
      const int count = ::epoll_wait(epoll_, events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.fd);
    }
  }

 private:
  void watch(int socket) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = socket}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
  }

  void handle(int socket) {
    if (socket == listener_) return accept();
    const auto peer = peers_.find(socket);
    if (peer == peers_.end()) return;
    std::array<char, 16384> buffer;
    const ssize_t size = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (size > 0 &&
        ::send(peer->second, buffer.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) == size) {
      return;
    }
    const int other = peer->second;
    for (const int gone : {socket, other}) {
      peers_.erase(gone);
      ::close(gone);
    }
  }

  void accept() {
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int on = 1;
    ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const int server = new_socket();
    const sockaddr_in address = loopback(upstream_);
    if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      std::exit(1);
    }
    peers_[client] = server;
    peers_[server] = client;
    watch(client);
    watch(server);
  }

  std::uint16_t upstream_;
  int listener_ = new_socket();
  int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::map<int, int> peers_;  // both ways
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  std::ifstream file(argv[2]);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string mark = "url = \"http://127.0.0.1:";
  const std::size_t at = text.find(mark);
  if (at == std::string::npos) return 2;
  Relay(static_cast<std::uint16_t>(std::atoi(text.c_str() + at + mark.size()))).run();
}
