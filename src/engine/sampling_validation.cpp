#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "engine/sampler.h"

namespace tandem {
namespace {

constexpr double kAny = std::numeric_limits<double>::max();
constexpr std::size_t kMaxSequenceBreakers = 256;
constexpr std::size_t kMaxBreakerBytes = 1024;

struct Range {
  std::string_view name;
  double value;
  double low;
  double high;
};

Status check(const Range& range) {
  // Also false for NaN, and for infinity.
  if (range.value >= range.low && range.value <= range.high) return {};
  std::string expected = "a number";
  if (range.low > -kAny) expected += " from " + std::to_string(range.low);
  if (range.high < kAny) expected += " up to " + std::to_string(range.high);
  return invalid_argument(std::string(range.name) + " out of range", expected,
                          std::to_string(range.value));
}

Status check_breakers(const DryParams& dry) {
  if (dry.sequence_breakers.size() > kMaxSequenceBreakers) {
    return invalid_argument("too many dry_sequence_breakers",
                            "at most " + std::to_string(kMaxSequenceBreakers),
                            std::to_string(dry.sequence_breakers.size()));
  }
  for (const std::string& breaker : dry.sequence_breakers) {
    if (breaker.size() > kMaxBreakerBytes) {
      return invalid_argument("dry_sequence_breakers: a string is too long",
                              "at most " + std::to_string(kMaxBreakerBytes) + " bytes",
                              std::to_string(breaker.size()) + " bytes");
    }
  }
  return {};
}

Status check_bias(const SamplingParams& params, std::int32_t vocabulary_size) {
  for (const auto& [token, bias] : params.logit_bias) {
    if (token < 0 || token >= vocabulary_size) {
      return invalid_argument("logit_bias: token outside the vocabulary",
                              "0 to " + std::to_string(vocabulary_size - 1), std::to_string(token));
    }
    if (std::isnan(bias) || (std::isinf(bias) && bias > 0)) {
      return invalid_argument("logit_bias of token " + std::to_string(token),
                              "a finite number or -infinity", std::to_string(bias));
    }
  }
  return {};
}

}  // namespace

Status validate(const SamplingParams& params, std::int32_t vocabulary_size) {
  const PenaltyParams& penalties = params.penalties;
  const DryParams& dry = params.dry;
  const MirostatParams& mirostat = params.mirostat;
  const Range ranges[] = {
      {"temperature", params.temperature, -kAny, kAny},
      {"dynatemp_range", params.dynatemp_range, 0, kAny},
      {"dynatemp_exponent", params.dynatemp_exponent, 0, kAny},
      {"top_p", params.top_p, 0, 1},
      {"min_p", params.min_p, 0, 1},
      {"typical_p", params.typical_p, 0, kAny},
      {"top_n_sigma", params.top_n_sigma, -kAny, kAny},
      {"min_keep", static_cast<double>(params.min_keep), 0, kAny},
      {"repeat_last_n", static_cast<double>(penalties.last_n), -1, kAny},
      // Nothing is divided by less than this, so that no logit becomes infinite.
      {"repeat_penalty", penalties.repeat, 1e-3, 1e3},
      {"frequency_penalty", penalties.frequency, -1e6, 1e6},
      {"presence_penalty", penalties.presence, -1e6, 1e6},
      {"dry_multiplier", dry.multiplier, 0, kAny},
      {"dry_base", dry.base, 1, kAny},
      {"dry_allowed_length", static_cast<double>(dry.allowed_length), 0, kAny},
      {"dry_penalty_last_n", static_cast<double>(dry.last_n), -1, kAny},
      {"xtc_probability", params.xtc.probability, 0, 1},
      {"xtc_threshold", params.xtc.threshold, 0, 1},
      {"mirostat_tau", mirostat.tau, 0, kAny},
      {"mirostat_eta", mirostat.eta, 0, kAny},
      {"logprobs", static_cast<double>(params.num_logprobs), -1, kAny},
  };
  for (const Range& range : ranges) TANDEM_TRY_STATUS(check(range));
  if (mirostat.version != 0 && mirostat.version != 2) {
    return invalid_argument("mirostat", "0 (off) or 2", std::to_string(mirostat.version));
  }
  TANDEM_TRY_STATUS(check_breakers(dry));
  return check_bias(params, vocabulary_size);
}

}  // namespace tandem
