#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/samplers/candidates.h"
#include "engine/samplers/dry.h"
#include "engine/samplers/mirostat.h"
#include "engine/samplers/penalties.h"
#include "engine/samplers/random.h"
#include "engine/token_sampler.h"
#include "text/tokenizer.h"

namespace tandem {

// kInvalidArgument for a value that makes no sense, naming it. Values that llama.cpp takes as "off"
// are fine. vocabulary_size bounds the tokens of logit_bias.
Status validate(const SamplingParams& params, std::int32_t vocabulary_size);

// The samplers in llama.cpp's order (common_params_sampling): logit bias, penalties, DRY,
// top-n-sigma, top-k, typical, top-p, min-p, XTC, temperature; then one is drawn. With mirostat,
// temperature and mirostat follow on DRY. At temperature 0 or less the best token after DRY is
// taken, and nothing is drawn. The same seed, history and logits give the same tokens.
class Sampler : public TokenSampler {
 public:
  // `params` must be valid. piece_of gives the text of a token, for DRY's sequence breakers.
  Sampler(SamplingParams params, Dry::PieceOf piece_of);

  // Where no token is possible (all logits are -infinity or NaN), token 0 is returned.
  SampledToken sample(std::span<float> logits) override;
  // Greedy: one; else top_k, where nothing before it looks at other tokens but logit bias and
  // penalties of a bounded number, which are changes. As many as there are log-probabilities.
  std::int32_t num_candidates() const override;
  bool wants_log_sum() const override { return params_.num_logprobs >= 0; }
  void add_changes(std::span<const std::int32_t> ahead, std::int32_t row,
                   std::vector<LogitChange>& changes) override;
  SampledToken sample_best(std::span<const TokenLogit> best, double log_sum) override;
  void accept(std::int32_t token) override;

 private:
  std::int32_t choose(std::span<float> logits);
  std::int32_t draw();
  void truncate();
  bool has_changes() const { return !params_.logit_bias.empty() || !penalties_.is_off(); }

  SamplingParams params_;
  Random random_;
  Penalties penalties_;
  Dry dry_;
  std::optional<Mirostat> mirostat_;
  std::vector<std::int32_t> history_;
  Candidates candidates_;  // kept for its memory
};

// Samplers for sequences of the model whose tokens `tokenizer` knows. What it makes holds it.
SamplerFactory make_sampler_factory(std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace tandem
