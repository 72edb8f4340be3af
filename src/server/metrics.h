#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

struct EngineStats;

// Counts of observations up to bounds, as Prometheus wants them. Any thread.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);
  // Appends the histogram's lines under `name`.
  void append(std::string& out, std::string_view name, std::string_view help) const;

 private:
  mutable std::mutex mutex_;
  std::vector<double> bounds_;
  std::vector<std::int64_t> counts_;  // one more than bounds: the rest
  double sum_ = 0;
};

// What the server measures itself, beside the engine's stats.
class ServerMetrics {
 public:
  ServerMetrics();

  Histogram time_to_first_token;  // seconds
  Histogram inter_token_latency;  // seconds
  Histogram queue_time;           // seconds
  Histogram request_prompt_tokens;
  Histogram request_generated_tokens;
  std::atomic<std::int64_t> prefill_us = 0;
  std::atomic<std::int64_t> decode_us = 0;

  void count_response(int status);
  // The text of /metrics: Prometheus exposition format, version 0.0.4.
  std::string expose(const EngineStats& stats, std::int32_t num_connections) const;

 private:
  std::array<std::atomic<std::int64_t>, 6> responses_{};  // by status / 100
};

}  // namespace tandem
