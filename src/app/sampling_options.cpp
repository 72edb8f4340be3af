#include "app/sampling_options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <random>

#include "engine/sampler.h"

namespace tandem {
namespace {

// llama.cpp's form: TOKEN_ID, then a number with its sign.
Result<std::pair<std::int32_t, float>> parse_bias(const std::string& text) {
  std::int32_t token = -1;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, token);
  char* value_end = nullptr;
  const float value = std::strtof(rest, &value_end);
  const bool has_sign = rest != end && (*rest == '+' || *rest == '-');
  if (error != std::errc() || !has_sign || value_end != end) {
    return invalid_argument("--logit-bias is not understood", "TOKEN_ID+BIAS or TOKEN_ID-BIAS",
                            "'" + text + "'");
  }
  return std::pair{token, value};
}

}  // namespace

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  SamplingParams& params = options.params;
  command.add_option("-n,--predict,--n-predict", options.max_tokens,
                     "Most tokens to generate; -1: until the context is full");
  command.add_option("-s,--seed", options.seed, "Same seed, same text; -1: drawn anew");
  command.add_option("--temp,--temperature", params.temperature, "0: always the likeliest token");
  command.add_option("--top-k", params.top_k, "Of the k likeliest; 0: all");
  command.add_option("--top-p", params.top_p, "Of the likeliest that sum to p");
  command.add_option("--min-p", params.min_p, "Of those at least p times as likely as the best");
  command.add_option("--typical", params.typical_p, "Locally typical sampling");
  command.add_option("--repeat-penalty", params.penalties.repeat, "1: none");
  command.add_option("--repeat-last-n", params.penalties.last_n, "Tokens that penalties look at");
  command.add_option("--presence-penalty", params.penalties.presence, "0: none");
  command.add_option("--frequency-penalty", params.penalties.frequency, "0: none");
  command.add_option("--dry-multiplier", params.dry.multiplier, "DRY sampling; 0: off");
  command.add_option("--xtc-probability", params.xtc.probability, "XTC sampling; 0: off");
  command.add_option("--xtc-threshold", params.xtc.threshold, "Of XTC");
  command.add_option("--mirostat", params.mirostat.version, "0: off, 2: Mirostat 2.0");
  command.add_option("--dynatemp-range", params.dynatemp_range, "0: fixed temperature");
  command.add_option("--stop,--reverse-prompt", options.stop, "Text that ends the answer")
      ->allow_extra_args(false);
  command.add_option("-l,--logit-bias", options.logit_bias, "TOKEN_ID+BIAS or TOKEN_ID-BIAS")
      ->allow_extra_args(false);
  command.add_flag("--ignore-eos", options.ignore_eos, "Go on after end-of-text tokens");
}

Result<SamplingParams> sampling_params_of(const SamplingOptions& options,
                                          std::int32_t vocabulary_size) {
  SamplingParams params = options.params;
  params.seed = static_cast<std::uint64_t>(options.seed);
  if (options.seed == -1) {
    std::random_device device;
    params.seed = (std::uint64_t{device()} << 32) | device();
  }
  for (const std::string& text : options.logit_bias) {
    TANDEM_TRY(const auto bias, parse_bias(text));
    params.logit_bias.push_back(bias);
  }
  TANDEM_TRY_STATUS(validate(params, vocabulary_size));
  return params;
}

}  // namespace tandem
