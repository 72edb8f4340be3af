#pragma once

#include "fleet/config_table.h"
#include "fleet/fleet_config.h"

namespace tandem {

// Each reads one section of a fleet.toml. What is wrong is reported to the table's errors.
// folder: what relative paths are relative to.
void read_listen(ConfigTable& table, const std::string& folder, FleetListen& listen);
void read_limits(ConfigTable& table, TrafficLimits& limits);
void read_placement(ConfigTable& table, PlacementPolicy& placement);
void read_supervision(ConfigTable& table, SupervisionPolicy& policy);
void read_breaker(ConfigTable& table, BreakerPolicy& policy);
void read_worker(ConfigTable& table, const std::string& folder, WorkerConfig& worker);
void read_upstream(ConfigTable& table, const std::string& folder, UpstreamConfig& upstream);
void read_key(ConfigTable& table, const std::string& folder, KeyConfig& key);
// `model.limits` comes with those of [limits].
void read_model(ConfigTable& table, const std::string& folder, ModelConfig& model);

// A name that clients and messages can bear: 1 to 200 bytes without control characters.
void read_name(ConfigTable& table, std::string_view kind, std::string& name);
// A path, made relative to the working directory through `folder`.
void read_path(ConfigTable& table, std::string_view key, const std::string& folder,
               std::string& path);
// "host:port", "[::1]:8080", or ":8080" for all addresses.
std::optional<ListenAddress> parse_listen_address(std::string_view text);
// Reports the first entry that is no device (machine/device_list.h), `auto` included.
void check_devices(ConfigTable& table, std::string_view key,
                   const std::vector<std::string>& devices);

// What spans sections: names and ports that clash, references to nothing.
void check_references(const FleetConfig& config, ConfigErrors& errors);
// No two keys alike, one [[key]] for requests without any.
void check_secrets(const FleetConfig& config, ConfigErrors& errors);

}  // namespace tandem
