#include "server/sampling_fields.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/sampler.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

constexpr double kAny = 1e6;

// A key or entry of logit_bias: a token's id, or text that stands for its tokens.
bool append_bias(const std::string& key, float bias, const Tokenizer& tokenizer,
                 SamplingParams& params) {
  std::int32_t id = 0;
  const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (code == std::errc() && end == key.data() + key.size()) {
    if (!tokenizer.vocabulary().contains(id)) return false;
    params.logit_bias.emplace_back(id, bias);
    return true;
  }
  for (const std::int32_t token : tokenizer.encode(key, {.add_special = false})) {
    params.logit_bias.emplace_back(token, bias);
  }
  return true;
}

// {"15043": 1.0, "text": -1} or [[15043, 1.0], ["text", false]].
void read_logit_bias(FieldReader& reader, const Tokenizer& tokenizer, SamplingParams& params) {
  const Json* field = reader.find("logit_bias");
  if (field == nullptr) return;
  const auto fail = [&] {
    reader.fail("logit_bias", "'logit_bias' must map token ids to numbers from -100 to 100");
  };
  if (!(field->is_object() || field->is_array()) || field->size() > 4096) return fail();
  const auto take = [&](const std::string& key, const Json& value) {
    float bias = -std::numeric_limits<float>::infinity();
    if (value.is_number()) {
      bias = value.get<float>();
    } else if (!value.is_boolean() || value.get<bool>()) {
      return false;
    }
    return append_bias(key, bias, tokenizer, params);
  };
  if (field->is_object()) {
    for (const auto& [key, value] : field->items()) {
      if (!take(key, value)) return fail();
    }
    return;
  }
  for (const Json& pair : *field) {
    if (!pair.is_array() || pair.size() != 2) return fail();
    const Json& key = pair[0];
    if (!key.is_string() && !key.is_number_integer()) return fail();
    if (!take(key.is_string() ? key.get<std::string>() : key.dump(), pair[1])) return fail();
  }
}

void read_penalties(FieldReader& reader, PenaltyParams& penalties) {
  reader.read("repeat_last_n", penalties.last_n, -1, 1 << 20);
  reader.read("repeat_penalty", penalties.repeat, 0.01, 100);
  reader.read("repetition_penalty", penalties.repeat, 0.01, 100);
  reader.read("frequency_penalty", penalties.frequency, -100, 100);
  reader.read("presence_penalty", penalties.presence, -100, 100);
}

void read_rarer(FieldReader& reader, SamplingParams& params) {
  reader.read("dynatemp_range", params.dynatemp_range, 0, kAny);
  reader.read("dynatemp_exponent", params.dynatemp_exponent, 0, kAny);
  reader.read("typical_p", params.typical_p, 0, 1);
  reader.read("top_n_sigma", params.top_n_sigma, -1, kAny);
  reader.read("min_keep", params.min_keep, 0, 1 << 20);
  reader.read("xtc_probability", params.xtc.probability, 0, 1);
  reader.read("xtc_threshold", params.xtc.threshold, 0, 1);
  reader.read("dry_multiplier", params.dry.multiplier, 0, kAny);
  reader.read("dry_base", params.dry.base, 0, kAny);
  reader.read("dry_allowed_length", params.dry.allowed_length, 0, 1 << 20);
  reader.read("dry_penalty_last_n", params.dry.last_n, -1, 1 << 20);
  reader.read("dry_sequence_breakers", params.dry.sequence_breakers, 64);
  reader.read("mirostat", params.mirostat.version, 0, 2);
  reader.read("mirostat_tau", params.mirostat.tau, 0, kAny);
  reader.read("mirostat_eta", params.mirostat.eta, 0, kAny);
}

}  // namespace

std::uint64_t draw_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

void read_sampling(FieldReader& reader, const Tokenizer& tokenizer, GenerationRequest& request) {
  SamplingParams& params = request.sampling;
  reader.read("temperature", params.temperature, -kAny, kAny);
  reader.read("top_k", params.top_k, -1, std::numeric_limits<std::int32_t>::max());
  reader.read("top_p", params.top_p, 0, 1);
  reader.read("min_p", params.min_p, 0, 1);
  read_penalties(reader, params.penalties);
  read_rarer(reader, params);
  read_logit_bias(reader, tokenizer, params);
  std::optional<std::uint64_t> seed;
  reader.read("seed", seed);
  // llama.cpp's seeds are of 32 bits; -1 asks for a random one.
  const bool is_given = seed && *seed != ~std::uint64_t{0} && *seed != 0xFFFFFFFFu;
  if (is_given) params.seed = *seed;
  if (params.seed == 0) params.seed = draw_seed();
  reader.read("stop", request.stop, 256);
  reader.read("ignore_eos", request.ignore_eos);
  reader.read("cache_prompt", request.cache_prompt);
  if (reader.error()) return;
  const Status status = validate(params, tokenizer.vocabulary().size());
  if (!status.ok()) reader.fail("", status.error().to_string());
}

}  // namespace tandem
