#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/index_of_largest.h"
#include "engine/samplers/logprobs.h"
#include "engine/samplers/temperature.h"
#include "engine/samplers/truncation.h"
#include "model/activation_sizes.h"

namespace tandem {
namespace {

// Tokens whose logits may differ from the model's for a row to be picked on its device: what
// travels there for each row of each step.
constexpr std::int32_t kMostChanges = 1024;

}  // namespace

Sampler::Sampler(SamplingParams params, Dry::PieceOf piece_of)
    : params_(std::move(params)),
      random_(params_.seed),
      penalties_(params_.penalties),
      dry_(params_.dry, std::move(piece_of)) {
  if (params_.mirostat.version == 2) mirostat_.emplace(params_.mirostat);
}

void Sampler::accept(std::int32_t token) {
  history_.push_back(token);
  penalties_.accept(history_);
  dry_.accept(token);
}

SampledToken Sampler::sample(std::span<float> logits) {
  std::optional<Logprobs> logprobs;
  if (params_.num_logprobs >= 0) logprobs.emplace(logits);
  SampledToken sampled;
  sampled.token = choose(logits);
  if (logprobs) {
    sampled.logprob = logprobs->of(sampled.token);
    sampled.likeliest = logprobs->likeliest(static_cast<std::size_t>(params_.num_logprobs));
  }
  return sampled;
}

std::int32_t Sampler::choose(std::span<float> logits) {
  for (const auto& [token, bias] : params_.logit_bias) {
    if (token >= 0 && static_cast<std::size_t>(token) < logits.size()) {
      logits[static_cast<std::size_t>(token)] += bias;
    }
  }
  penalties_.apply(logits);
  dry_.apply(history_, logits);

  const bool is_greedy = params_.temperature <= 0;
  if (is_greedy) return static_cast<std::int32_t>(index_of_largest(logits));
  if (!mirostat_) apply_top_n_sigma(logits, params_.top_n_sigma);
  candidates_.assign(logits, mirostat_ ? 0 : params_.top_k);
  return draw();
}

// Of the candidates as top-k has left them.
std::int32_t Sampler::draw() {
  if (candidates_.empty()) return 0;
  if (!mirostat_) truncate();
  apply_dynamic_temperature(candidates_, params_.temperature, params_.dynatemp_range,
                            params_.dynatemp_exponent);
  const std::size_t index =
      mirostat_ ? mirostat_->draw(candidates_, random_) : candidates_.draw(random_);
  return candidates_[index].token;
}

std::int32_t Sampler::num_candidates() const {
  constexpr auto kMost = static_cast<std::int32_t>(ActivationSizes::kMostCandidates);
  // Log-probabilities are those before changes, candidates those behind them.
  const bool wants_both = has_changes() && params_.num_logprobs >= 0;
  const std::int32_t last_n = penalties_.is_off() ? 0 : params_.penalties.last_n;
  const bool are_many =
      last_n < 0 || std::ssize(params_.logit_bias) + std::int64_t{last_n} > kMostChanges;
  if (wants_both || are_many || !dry_.is_off()) return 0;
  const bool is_greedy = params_.temperature <= 0;
  if (!is_greedy && (mirostat_ || params_.top_n_sigma > 0 || params_.top_k <= 0)) return 0;
  const std::int32_t count = std::max(is_greedy ? 1 : params_.top_k, params_.num_logprobs);
  return count <= kMost ? count : 0;
}

void Sampler::add_changes(std::span<const std::int32_t> ahead, std::int32_t row,
                          std::vector<LogitChange>& changes) {
  if (!has_changes()) return;
  std::map<std::int32_t, LogitChange> by_token;
  for (const auto& [token, bias] : params_.logit_bias) by_token[token].add += bias;
  Penalties penalties = penalties_;
  const std::size_t size = history_.size();
  for (const std::int32_t token : ahead) {
    history_.push_back(token);
    penalties.accept(history_);
  }
  history_.resize(size);
  penalties.add_to(by_token);
  for (auto& [token, change] : by_token) {
    if (token < 0) continue;
    change.row = row;
    change.column = token;
    changes.push_back(change);
  }
}

SampledToken Sampler::sample_best(std::span<const TokenLogit> best, double log_sum) {
  if (best.empty()) return {};
  SampledToken sampled;
  if (params_.temperature <= 0) {
    sampled.token = best.front().token;
  } else {
    candidates_.assign(best.first(std::min(best.size(), static_cast<std::size_t>(params_.top_k))));
    sampled.token = draw();
  }
  if (params_.num_logprobs < 0) return sampled;
  const auto logprob_of = [&](const TokenLogit& one) {
    return static_cast<float>(std::min(one.logit, Candidates::kMaxLogit) - log_sum);
  };
  const auto chosen = std::ranges::find(best, sampled.token, &TokenLogit::token);
  sampled.logprob =
      chosen == best.end() ? -std::numeric_limits<float>::infinity() : logprob_of(*chosen);
  for (const TokenLogit& one : best) {
    const bool is_enough = std::ssize(sampled.likeliest) == params_.num_logprobs;
    if (is_enough || std::isinf(one.logit)) break;
    sampled.likeliest.push_back({one.token, logprob_of(one)});
  }
  return sampled;
}

void Sampler::truncate() {
  const auto min_keep = static_cast<std::size_t>(params_.min_keep);
  apply_typical(candidates_, params_.typical_p, min_keep);
  apply_top_p(candidates_, params_.top_p, min_keep);
  apply_min_p(candidates_, params_.min_p, min_keep);
  apply_xtc(candidates_, params_.xtc.probability, params_.xtc.threshold, min_keep, random_);
}

SamplerFactory make_sampler_factory(std::shared_ptr<const Tokenizer> tokenizer) {
  return [tokenizer = std::move(tokenizer)](const SamplingParams& params) {
    const auto piece_of = [tokenizer](std::int32_t token) { return tokenizer->piece(token, true); };
    return std::make_unique<Sampler>(params, piece_of);
  };
}

}  // namespace tandem
