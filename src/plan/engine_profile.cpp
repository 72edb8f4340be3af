#include "plan/engine_profile.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/log.h"
#include "base/lower_case.h"
#include "machine/json_reader.h"
#include "machine/user_data.h"

namespace tandem {
namespace data {
extern const std::string_view kEnginesJson;
}

namespace {

using Json = nlohmann::json;

double number(JsonReader& reader, const char* name) {
  const auto value = reader.get<double>(name);
  if (!value || !(*value >= 0)) reader.fail(name, "a number of 0 or more");
  return value.value_or(0);
}

// A member that may be missing.
std::optional<double> optional_number(JsonReader& reader, const char* name) {
  const auto value = reader.get<double>(name);
  if (value && !(*value >= 0)) reader.fail(name, "a number of 0 or more");
  return value;
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
  out.shared_kv_efficiency = optional_number(reader, "shared_kv_efficiency").value_or(0);
  out.attention_efficiency = optional_number(reader, "attention_efficiency").value_or(0);
  out.attention_context_ops = optional_number(reader, "attention_context_ops").value_or(0);
  out.group_wait = optional_number(reader, "group_wait").value_or(0);
  out.prefill_group_wait = optional_number(reader, "prefill_group_wait").value_or(0);
  out.reduce_parts = std::max(1, reader.get<int>("reduce_parts").value_or(1));
  out.is_measured = reader.get<bool>("is_measured").value_or(true);
  out.stage_hop_us = optional_number(reader, "stage_hop_us");
  out.pipeline_overlap = optional_number(reader, "pipeline_overlap");
  out.all_reduce_us = optional_number(reader, "all_reduce_us");
  out.host_us = optional_number(reader, "host_us");
  out.typical_low = optional_number(reader, "typical_low");
  out.typical_high = optional_number(reader, "typical_high");
  if (!(out.memory_efficiency > 0)) reader.fail("memory_efficiency", "above 0");
  if (!(out.kv_efficiency > 0)) reader.fail("kv_efficiency", "above 0");
  if (!(out.matmul_efficiency > 0)) reader.fail("matmul_efficiency", "above 0");
  if (!(out.quantised_factor > 0)) reader.fail("quantised_factor", "above 0");
  const Json* kernels = reader.array("kernels");
  TANDEM_TRY_STATUS(reader.status());
  for (std::size_t i = 0; kernels != nullptr && i < kernels->size(); ++i) {
    TANDEM_TRY(KernelCosts kernel, kernel_costs_from_json((*kernels)[i], where + ".kernels"));
    out.kernels.push_back(std::move(kernel));
  }
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
  out.splits_by_expert = reader.get<bool>("splits_by_expert").value_or(false);
  out.expert_layer_factor = number(reader, "expert_layer_factor");
  out.linear_layer_factor = number(reader, "linear_layer_factor");
  out.stage_hop_us = number(reader, "stage_hop_us");
  out.pipeline_overlap = number(reader, "pipeline_overlap");
  out.all_reduce_us = number(reader, "all_reduce_us");
  out.reduce_step_share = optional_number(reader, "reduce_step_share").value_or(1);
  out.host_us = number(reader, "host_us");
  out.micro_batch_tokens = std::max(1, reader.get<int>("micro_batch_tokens").value_or(512));
  out.stage_micro_batch_tokens =
      std::max(1, reader.get<int>("stage_micro_batch_tokens").value_or(out.micro_batch_tokens));
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

Json backend_json(const BackendProfile& backend) {
  Json json = {{"memory_efficiency", backend.memory_efficiency},
               {"kv_efficiency", backend.kv_efficiency},
               {"matvec_ops_half", backend.matvec_ops_half},
               {"matvec_ops_quantised", backend.matvec_ops_quantised},
               {"layer_us", backend.layer_us},
               {"prefill_layer_us", backend.prefill_layer_us},
               {"matmul_efficiency", backend.matmul_efficiency},
               {"quantised_factor", backend.quantised_factor},
               {"attention_factor", backend.attention_factor},
               {"score_passes", backend.score_passes},
               {"activation_hidden", backend.activation_hidden},
               {"activation_width", backend.activation_width},
               {"shared_kv_efficiency", backend.shared_kv_efficiency},
               {"attention_efficiency", backend.attention_efficiency},
               {"attention_context_ops", backend.attention_context_ops},
               {"group_wait", backend.group_wait},
               {"prefill_group_wait", backend.prefill_group_wait},
               {"reduce_parts", backend.reduce_parts},
               {"is_measured", backend.is_measured}};
  const auto add = [&json](const char* name, const std::optional<double>& value) {
    if (value) json[name] = *value;
  };
  add("stage_hop_us", backend.stage_hop_us);
  add("pipeline_overlap", backend.pipeline_overlap);
  add("all_reduce_us", backend.all_reduce_us);
  add("host_us", backend.host_us);
  add("typical_low", backend.typical_low);
  add("typical_high", backend.typical_high);
  for (const KernelCosts& kernel : backend.kernels) json["kernels"].push_back(to_json(kernel));
  return json;
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

Json to_json(const EngineProfile& engine) {
  Json backends = Json::object();
  for (const auto& [name, backend] : engine.backends) backends[name] = backend_json(backend);
  return {{"name", engine.name},
          {"aliases", engine.aliases},
          {"half_accumulate", engine.half_accumulate},
          {"kv_window", engine.kv_window},
          {"splits_by_expert", engine.splits_by_expert},
          {"expert_layer_factor", engine.expert_layer_factor},
          {"linear_layer_factor", engine.linear_layer_factor},
          {"stage_hop_us", engine.stage_hop_us},
          {"pipeline_overlap", engine.pipeline_overlap},
          {"all_reduce_us", engine.all_reduce_us},
          {"reduce_step_share", engine.reduce_step_share},
          {"host_us", engine.host_us},
          {"micro_batch_tokens", engine.micro_batch_tokens},
          {"stage_micro_batch_tokens", engine.stage_micro_batch_tokens},
          {"activation_bytes", engine.activation_bytes},
          {"decode_power_share", engine.decode_power_share},
          {"typical", {{"low", engine.typical_low}, {"high", engine.typical_high}}},
          {"backends", std::move(backends)},
          {"source", engine.source}};
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
    const auto found =
        std::find_if(profiles.begin(), profiles.end(), [&](const EngineProfile& other) {
          return lower_case(other.name) == lower_case(profile.name);
        });
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
  const std::string wanted = lower_case(name);
  std::string known;
  for (const EngineProfile& profile : engine_profiles()) {
    if (lower_case(profile.name) == wanted) return &profile;
    for (const std::string& alias : profile.aliases) {
      if (lower_case(alias) == wanted) return &profile;
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
