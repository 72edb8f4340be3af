#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

namespace tandem::bench {

// How events come: so many a second over all streams, evenly spread, or one of every stream at once
// as the steps of an engine give them.
struct Pace {
  double events_per_s = 1000;
  bool in_bursts = false;
};

// A server that plays a model with no work to do: answers each POST with an endless stream of
// events that bear their number and the time at which they were written, and each GET with an empty
// object. One thread of its own; loopback only.
class EventSource {
 public:
  EventSource();
  ~EventSource();
  std::uint16_t port() const { return port_; }
  // Any thread.
  void set_pace(const Pace& pace);
  // Events that a reader's slowness held back, since the last call.
  std::int64_t take_num_held_back() { return num_held_back_.exchange(0); }

 private:
  struct Client;
  void run();
  void accept_all();
  void read(Client& client);
  void send_due(std::int64_t now_ns);
  void send_event(Client& client);
  void drop(int socket);

  int listener_ = -1;
  int epoll_ = -1;
  std::uint16_t port_ = 0;
  std::map<int, std::unique_ptr<Client>> clients_;  // by socket
  std::map<int, std::unique_ptr<Client>>::iterator next_;
  std::int64_t due_ns_ = 0;  // when the next event, or burst, is to go
  std::atomic<double> events_per_s_ = 1000;
  std::atomic<bool> in_bursts_ = false;
  std::atomic<std::int64_t> num_held_back_ = 0;
  std::atomic<bool> is_over_ = false;
  std::thread thread_;
};

// Nanoseconds of a steady clock that both ends of a stream read.
std::int64_t steady_ns();

}  // namespace tandem::bench
