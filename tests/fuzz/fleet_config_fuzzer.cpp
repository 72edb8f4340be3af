#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "fleet/fleet_config.h"

// Any text as a fleet.toml: it yields errors, or a configuration in which every name leads to what
// it names and which reads the same once more.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto outcome = tandem::parse_fleet_config(text, "fuzz.toml", "/folder");
  for (const tandem::Error& error : outcome.errors) {
    TANDEM_CHECK(error.where.starts_with("fuzz.toml:") && !error.what.empty(), error.to_string());
  }
  if (!outcome.errors.empty()) return 0;
  const tandem::FleetConfig& config = outcome.config;
  for (const tandem::ModelConfig& model : config.models) {
    TANDEM_CHECK(config.find_model(model.name) == &model, model.name);
    for (const std::string& alias : model.aliases) {
      TANDEM_CHECK(config.find_model(alias) == &model, alias);
    }
  }
  for (const std::string& name : config.served_names()) {
    TANDEM_CHECK(config.canonical_name(name) == name, name);
  }
  TANDEM_CHECK(tandem::parse_fleet_config(text, "fuzz.toml", "/folder").config == config, "twice");
  return 0;
}
