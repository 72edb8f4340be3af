#include "plan/engine_profile.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/log.h"
#include "machine/json_reader.h"
#include "machine/user_data.h"

namespace tandem {
namespace data {
extern const std::string_view kEnginesJson;
}

namespace {

using Json = nlohmann::json;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

double number(JsonReader& reader, const char* name) {
  const auto value = reader.get<double>(name);
  if (!value || !(*value >= 0)) reader.fail(name, "a number of 0 or more");
  return value.value_or(0);
}

Result<BackendProfile> read_backend(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  BackendProfile out;
  out.memory_efficiency = number(reader, "memory_efficiency");
  out.kv_efficiency = number(reader, "kv_efficiency");
  out.matvec_ops_half = number(reader, "matvec_ops_half");
  out.matvec_ops_quantised = number(reader, "matvec_ops_quantised");
  out.layer_us = number(reader, "layer_us");
  out.prefill_layer_us = number(reader, "prefill_layer_us");
  out.matmul_efficiency = number(reader, "matmul_efficiency");
  out.quantised_factor = number(reader, "quantised_factor");
  out.attention_factor = number(reader, "attention_factor");
  out.score_passes = number(reader, "score_passes");
  out.activation_hidden = number(reader, "activation_hidden");
  out.activation_width = number(reader, "activation_width");
  if (!(out.memory_efficiency > 0)) reader.fail("memory_efficiency", "above 0");
  if (!(out.kv_efficiency > 0)) reader.fail("kv_efficiency", "above 0");
  if (!(out.matmul_efficiency > 0)) reader.fail("matmul_efficiency", "above 0");
  if (!(out.quantised_factor > 0)) reader.fail("quantised_factor", "above 0");
  TANDEM_TRY_STATUS(reader.status());
  return out;
}

Result<EngineProfile> read_engine(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  EngineProfile out;
  out.name = reader.get<std::string>("name").value_or("");
  if (out.name.empty()) reader.fail("name", "the engine's name");
  if (const Json* aliases = reader.array("aliases")) {
    for (const Json& alias : *aliases) {
      if (alias.is_string()) out.aliases.push_back(alias.get<std::string>());
    }
  }
  out.half_accumulate = reader.get<bool>("half_accumulate").value_or(false);
  out.kv_window = reader.get<bool>("kv_window").value_or(false);
  out.expert_layer_factor = number(reader, "expert_layer_factor");
  out.linear_layer_factor = number(reader, "linear_layer_factor");
  out.stage_hop_us = number(reader, "stage_hop_us");
  out.pipeline_overlap = number(reader, "pipeline_overlap");
  out.all_reduce_us = number(reader, "all_reduce_us");
  out.host_us = number(reader, "host_us");
  out.micro_batch_tokens = std::max(1, reader.get<int>("micro_batch_tokens").value_or(512));
  out.activation_bytes = number(reader, "activation_bytes");
  out.decode_power_share = number(reader, "decode_power_share");
  if (const Json* typical = reader.find("typical")) {
    JsonReader range(*typical, where + ".typical");
    out.typical_low = number(range, "low");
    out.typical_high = number(range, "high");
    TANDEM_TRY_STATUS(range.status());
  }
  out.source = reader.get<std::string>("source").value_or("");
  const Json* backends = reader.find("backends");
  if (backends == nullptr || !backends->is_object()) reader.fail("backends", "an object");
  TANDEM_TRY_STATUS(reader.status());
  for (const auto& [name, backend] : backends->items()) {
    TANDEM_TRY(out.backends[name], read_backend(backend, where + "." + name));
  }
  if (!out.backends.contains("cuda")) return malformed(where, "no back end \"cuda\"");
  return out;
}

const Json& document() {
  static const Json json = Json::parse(data::kEnginesJson);
  return json;
}

}  // namespace

const BackendProfile& EngineProfile::backend(std::string_view backend_name) const {
  const auto found = backends.find(std::string(backend_name));
  return found == backends.end() ? backends.at("cuda") : found->second;
}

Result<std::vector<EngineProfile>> parse_engine_profiles(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return malformed("engines", "not JSON");
  JsonReader reader(json, "engines");
  const Json* entries = reader.array("engines");
  if (entries == nullptr) reader.fail("engines", "a list");
  TANDEM_TRY_STATUS(reader.status());
  std::vector<EngineProfile> profiles;
  for (std::size_t i = 0; i < entries->size(); ++i) {
    TANDEM_TRY(EngineProfile profile,
               read_engine((*entries)[i], "engines[" + std::to_string(i) + "]"));
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

namespace {

// Of TANDEM_ENGINES, else ~/.config/tandem/engines.json (`bench --calibrate` writes such a file):
// profiles replace those of the same name and follow the others otherwise. A file
// that cannot be read as such is said so and left out: it is no reason to plan nothing.
void merge_user_profiles(std::vector<EngineProfile>& profiles) {
  const auto file = read_user_data("TANDEM_ENGINES", "engines.json");
  if (!file) return;
  auto own = parse_engine_profiles(file->text);
  if (!own.ok()) {
    spdlog::warn("{}", own.error().at(file->path).to_string());
    return;
  }
  for (EngineProfile& profile : *own) {
    const auto found = std::find_if(
        profiles.begin(), profiles.end(),
        [&](const EngineProfile& other) { return lower(other.name) == lower(profile.name); });
    if (found == profiles.end()) {
      profiles.push_back(std::move(profile));
    } else {
      *found = std::move(profile);
    }
  }
}

}  // namespace

const std::vector<EngineProfile>& engine_profiles() {
  static const std::vector<EngineProfile> profiles = [] {
    auto parsed = parse_engine_profiles(data::kEnginesJson);
    TANDEM_CHECK(parsed.ok(), parsed.error().to_string());
    merge_user_profiles(*parsed);
    return *std::move(parsed);
  }();
  return profiles;
}

Result<const EngineProfile*> find_engine(std::string_view name) {
  const std::string wanted = lower(name);
  std::string known;
  for (const EngineProfile& profile : engine_profiles()) {
    if (lower(profile.name) == wanted) return &profile;
    for (const std::string& alias : profile.aliases) {
      if (lower(alias) == wanted) return &profile;
    }
    known += (known.empty() ? "" : ", ") + profile.name;
  }
  return Error{ErrorCode::kNotFound, "unknown engine", "--engine", known, std::string(name)};
}

double energy_pj(std::string_view architecture) {
  const auto found = document().at("energy_pj").find(std::string(architecture));
  return found == document().at("energy_pj").end() ? 0.0 : found->get<double>();
}

}  // namespace tandem
