#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tandem {

// Lowers the logits of tokens seen lately. Each is off at its neutral value.
struct PenaltyParams {
  std::int32_t last_n = 64;  // how far back they look; 0: off, -1: the whole context
  float repeat = 1.0f;
  float frequency = 0.0f;
  float presence = 0.0f;
};

// "Don't repeat yourself": lowers tokens that would lengthen a repetition. Off at multiplier 0.
struct DryParams {
  float multiplier = 0.0f;
  float base = 1.75f;
  std::int32_t allowed_length = 2;
  std::int32_t last_n = -1;
  std::vector<std::string> sequence_breakers = {"\n", ":", "\"", "*"};
};

// "Exclude top choices": off at probability 0.
struct XtcParams {
  float probability = 0.0f;
  float threshold = 0.1f;
};

// Entropy held at `tau`, in place of the truncating samplers. Off unless `version` is 2.
struct MirostatParams {
  std::int32_t version = 0;
  float tau = 5.0f;
  float eta = 0.1f;
};

// How a token is chosen from logits. Names, meanings and neutral values are llama.cpp's
// (common_params_sampling); the defaults here are those of llama-server.
struct SamplingParams {
  std::uint64_t seed = 0;    // the caller draws one where the user gave none
  float temperature = 0.8f;  // 0 or less: greedy
  float dynatemp_range = 0.0f;
  float dynatemp_exponent = 1.0f;
  std::int32_t top_k = 40;  // 0 or less: all
  float top_p = 0.95f;
  float min_p = 0.05f;
  float typical_p = 1.0f;
  float top_n_sigma = -1.0f;
  std::int32_t min_keep = 0;
  PenaltyParams penalties;
  DryParams dry;
  XtcParams xtc;
  MirostatParams mirostat;
  std::vector<std::pair<std::int32_t, float>> logit_bias;  // added; -infinity forbids
  // -1: no log-probabilities; 0: the chosen token's; n: those of the n likeliest too.
  std::int32_t num_logprobs = -1;
};

}  // namespace tandem
