#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tandem::bench {

// What became of events on their way.
struct Readings {
  std::vector<double> latency_us;  // from its writing at the source to its reading here, sorted
  double seconds = 0;
  std::int64_t num_wrong = 0;  // lost, doubled or out of order

  double events_per_s() const { return static_cast<double>(latency_us.size()) / seconds; }
  // share: 0.5 for the median. 0 where nothing came.
  double quantile_us(double share) const;
};

// Opens `num_streams` at the port, each a request of its own, and reads all of them for `seconds`
// once every one has had its first event. Exits with a message where a stream is refused or ends.
Readings read_streams(std::uint16_t port, int num_streams, double seconds);

}  // namespace tandem::bench
