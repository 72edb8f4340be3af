#include "engine/sampler.h"

#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "base/index_of_largest.h"
#include "engine/samplers/logprobs.h"
#include "engine/samplers/temperature.h"
#include "engine/samplers/truncation.h"
#include "model/activation_sizes.h"

namespace tandem {

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
  const bool looks_at_all = params_.num_logprobs >= 0 || !params_.logit_bias.empty() ||
                            !penalties_.is_off() || !dry_.is_off();
  if (looks_at_all) return 0;
  if (params_.temperature <= 0) return 1;
  if (mirostat_ || params_.top_n_sigma > 0) return 0;
  const bool is_few = params_.top_k > 0 && params_.top_k <= ActivationSizes::kMostCandidates;
  return is_few ? params_.top_k : 0;
}

SampledToken Sampler::sample_best(std::span<const TokenLogit> best) {
  if (best.empty()) return {};
  if (params_.temperature <= 0) return {best.front().token, 0, {}};
  candidates_.assign(best);
  return {draw(), 0, {}};
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
