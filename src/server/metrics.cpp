#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/engine_stats.h"
#include "server/http/prometheus_text.h"

namespace tandem {
namespace {

void append_value(std::string& out, std::string_view name, std::string_view type,
                  std::string_view help, double value) {
  append_metric_head(out, name, type, help);
  out += fmt::format("{} {}\n", name, value);
}

std::vector<double> latency_bounds() {
  return {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60};
}
std::vector<double> token_bounds() {
  return {1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072};
}

double per_second(double count, double microseconds) {
  return microseconds > 0 ? count * 1e6 / microseconds : 0;
}

void append_ranks(std::string& out, const EngineStats& stats) {
  if (stats.ranks.empty()) return;
  constexpr std::string_view kName = "tandem:rank_seconds_total";
  append_metric_head(out, kName, "counter", "Where each rank's time went.");
  for (const RankTimes& rank : stats.ranks) {
    const auto append = [&](std::string_view phase, double seconds) {
      out += fmt::format("{}{{device=\"{}\",stage=\"{}\",phase=\"{}\"}} {}\n", kName,
                         metric_label(rank.device), rank.stage, phase, seconds);
    };
    append("compute", rank.compute);
    append("wait", rank.wait);
    append("reduce", rank.reduce);
    append("stage_wait", rank.stage_wait);
    append("transfer", rank.transfer);
    append("output", rank.output);
    append("idle", rank.idle);
  }
  append_metric_head(out, "tandem:rank_memory_bytes", "gauge", "What each rank allocated.");
  for (const RankMemory& memory : stats.memory) {
    const auto append = [&](std::string_view kind, std::int64_t bytes) {
      out += fmt::format("tandem:rank_memory_bytes{{device=\"{}\",kind=\"{}\"}} {}\n",
                         metric_label(memory.device), kind, bytes);
    };
    append("weights", memory.weights_bytes);
    append("kv", memory.kv_bytes);
    append("compute", memory.compute_bytes);
  }
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1, 0) {}

void Histogram::observe(double value) {
  const auto bucket = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  const std::lock_guard lock(mutex_);
  ++counts_[static_cast<std::size_t>(bucket)];
  sum_ += value;
}

void Histogram::append(std::string& out, std::string_view name, std::string_view help) const {
  append_metric_head(out, name, "histogram", help);
  const std::lock_guard lock(mutex_);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    total += counts_[i];
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bounds_[i], total);
  }
  total += counts_.back();
  out += fmt::format("{}_bucket{{le=\"+Inf\"}} {}\n{}_sum {}\n{}_count {}\n", name, total, name,
                     sum_, name, total);
}

ServerMetrics::ServerMetrics()
    : time_to_first_token(latency_bounds()),
      inter_token_latency(latency_bounds()),
      queue_time(latency_bounds()),
      request_prompt_tokens(token_bounds()),
      request_generated_tokens(token_bounds()) {}

void ServerMetrics::count_response(int status) {
  const int family = std::clamp(status / 100, 0, 5);
  ++responses_[static_cast<std::size_t>(family)];
}

std::string ServerMetrics::expose(const EngineStats& stats, std::int32_t num_connections) const {
  const EngineCounters& c = stats.counters;
  const auto prompt_computed = double(c.prompt_tokens - c.cached_prompt_tokens);
  const auto prefill = double(prefill_us);
  const auto decode = double(decode_us);
  std::string out;
  const auto counter = [&](std::string_view name, std::string_view help, double value) {
    append_value(out, name, "counter", help, value);
  };
  const auto gauge = [&](std::string_view name, std::string_view help, double value) {
    append_value(out, name, "gauge", help, value);
  };
  // llama-server's names.
  counter("llamacpp:prompt_tokens_total", "Prompt tokens processed.", prompt_computed);
  counter("llamacpp:prompt_seconds_total", "Time in prompts.", prefill / 1e6);
  counter("llamacpp:tokens_predicted_total", "Tokens generated.", double(c.generated_tokens));
  counter("llamacpp:tokens_predicted_seconds_total", "Time in generation.", decode / 1e6);
  counter("llamacpp:n_decode_total", "Steps computed.", double(c.steps));
  gauge("llamacpp:n_busy_slots_per_decode", "Mean sequences in a step.",
        c.steps > 0 ? double(c.batched_sequences) / double(c.steps) : 0);
  gauge("llamacpp:prompt_tokens_seconds", "Mean prompt tokens per second.",
        per_second(prompt_computed, prefill));
  gauge("llamacpp:predicted_tokens_seconds", "Mean generated tokens per second of a request.",
        per_second(double(c.generated_tokens), decode));
  gauge("llamacpp:kv_cache_usage_ratio", "KV blocks in use, of all.",
        stats.blocks_total > 0 ? double(stats.blocks_owned) / stats.blocks_total : 0);
  gauge("llamacpp:kv_cache_tokens", "Tokens that the KV blocks in use can hold.",
        double(stats.blocks_owned) * stats.block_tokens);
  gauge("llamacpp:requests_processing", "Answers being computed.", stats.running);
  gauge("llamacpp:requests_deferred", "Answers that wait.", stats.waiting);
  // Our own.
  counter("tandem:cached_prompt_tokens_total", "Prompt tokens found in the prefix cache.",
          double(c.cached_prompt_tokens));
  counter("tandem:preemptions_total", "Answers sent back for want of KV blocks.",
          double(stats.preemptions));
  counter("tandem:draft_tokens_total", "Tokens guessed by speculation.", double(c.drafted_tokens));
  counter("tandem:draft_tokens_accepted_total", "Of these, right.", double(c.accepted_tokens));
  counter("tandem:steps_with_prompts_total", "Steps that took prompt tokens.",
          double(c.steps_with_prompts));
  counter("tandem:step_seconds_total", "Time in steps.", double(c.step_us) / 1e6);
  counter("tandem:engine_seconds_total", "Time between steps: scheduling, sampling, text.",
          double(c.engine_us) / 1e6);
  gauge("tandem:kv_blocks_total", "KV blocks.", stats.blocks_total);
  gauge("tandem:kv_blocks_owned", "KV blocks of running answers.", stats.blocks_owned);
  gauge("tandem:kv_blocks_cached", "KV blocks kept for their contents.", stats.blocks_cached);
  gauge("tandem:connections", "Open connections.", num_connections);
  append_metric_head(out, "tandem:requests_total", "counter", "Requests, by their end.");
  out += fmt::format(
      "tandem:requests_total{{end=\"finished\"}} {}\ntandem:requests_total{{end=\"cancelled\"}} "
      "{}\ntandem:requests_total{{end=\"failed\"}} {}\n",
      c.requests_finished, c.requests_cancelled, c.requests_failed);
  append_metric_head(out, "tandem:http_responses_total", "counter", "HTTP answers, by status.");
  for (std::size_t family = 1; family < responses_.size(); ++family) {
    out += fmt::format("tandem:http_responses_total{{status=\"{}xx\"}} {}\n", family,
                       responses_[family].load());
  }
  time_to_first_token.append(out, "tandem:time_to_first_token_seconds",
                             "From a request's arrival to its first token.");
  inter_token_latency.append(out, "tandem:inter_token_latency_seconds",
                             "Between texts of one answer.");
  queue_time.append(out, "tandem:queue_seconds", "From arrival to the first step.");
  request_prompt_tokens.append(out, "tandem:request_prompt_tokens", "Prompt tokens of a request.");
  request_generated_tokens.append(out, "tandem:request_generated_tokens",
                                  "Generated tokens of an answer.");
  append_ranks(out, stats);
  return out;
}

}  // namespace tandem
