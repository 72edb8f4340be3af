#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "fleet/policies.h"
#include "plan/auto_plan.h"

namespace tandem {

struct ListenAddress {
  std::string host = "127.0.0.1";  // a name or an address, IPv6 without its brackets
  std::uint16_t port = 8080;
  std::string to_string() const;  // "127.0.0.1:8080", "[::1]:8080"
  bool is_loopback() const;
  bool operator==(const ListenAddress&) const = default;
};

// [fleet]: where the fleet is reached.
struct FleetListen {
  std::vector<ListenAddress> addresses = {ListenAddress{}};  // listen
  std::string certificate_file;                              // PEM; with key_file: TLS
  std::string key_file;
  std::vector<std::string> origins;  // cors_origins: pages that may use it from a browser
  std::vector<std::string> hosts;    // allowed_hosts: names under which it is reached
  std::int32_t max_connections = 4096;
  std::int64_t max_body_bytes = 16 * kMiB;  // max_body
  bool serve_page = true;                   // webui
  std::string log_dir;  // one file a worker; empty: their lines go to standard error
  SourceLine line;
  bool operator==(const FleetListen&) const = default;
};

// Which devices a model gets, and how it is laid over them.
struct PlacementWish {
  // What `tandem plan` takes: context, parallel, kv_type, split, tp, pp, shares, batch, ...
  PlanRequest plan;
  // `devices`: entries of --devices. One list a replica: devices = [["cuda:0"], ["cuda:1"]].
  // Written flat with several replicas, the list is divided into equal runs (or each replica gets
  // the one device that is named); with replicas = "auto" it is what may be used, as
  // [placement] devices is for all. Empty: auto.
  std::vector<std::vector<std::string>> devices;
  std::optional<std::int32_t> replicas = 1;  // nullopt: auto, as many as pay
  // Of each device, for what the planner cannot know (external workers); nullopt: by plan.
  std::optional<std::int64_t> memory_bytes;
  bool operator==(const PlacementWish&) const = default;
};

// [[model]]: one that the fleet runs itself.
struct ModelConfig {
  std::string name;
  std::vector<std::string> aliases;
  std::string file;      // as the fleet's process can open it; empty with `builtin` or a worker
  bool builtin = false;  // file = "builtin": the model that is part of the program
  PlacementWish placement;
  ResidencyPolicy residency;
  TrafficLimits limits;
  std::optional<ListenAddress> listen;  // a port of its own, beside the fleet's
  std::string worker;                   // a [[worker]]; empty: `tandem serve`
  std::vector<std::string> arguments;   // further ones for the worker
  SourceLine line;
  bool operator==(const ModelConfig&) const = default;
};

// [[worker]]: how another program serves a model. The command is run without a shell; {model},
// {name}, {host}, {port}, {context}, {parallel}, {kv_type} and {devices} are put in.
struct WorkerConfig {
  std::string name;
  std::vector<std::string> command;
  std::map<std::string, std::string> environment;  // env
  std::string health_path = "/health";             // 200 where it is ready
  SourceLine line;
  bool operator==(const WorkerConfig&) const = default;
};

struct UpstreamModel {
  std::string name;         // as clients say it
  std::string remote_name;  // as the upstream says it
  bool operator==(const UpstreamModel&) const = default;
};

// [[upstream]]: any server with OpenAI's API, here or elsewhere.
struct UpstreamConfig {
  std::string name;
  bool tls = false;  // from the URL's scheme
  std::string host;
  std::uint16_t port = 80;
  std::string base_path;  // "" or "/prefix", without a slash at its end; "/v1/..." comes behind it
  std::string ca_file;  // PEM that the server's certificate must descend from; empty: the system's
  std::string api_key;  // sent as a bearer token; empty: none
  std::string api_key_file;                // read by load_fleet_config into api_key
  std::vector<UpstreamModel> models;       // models = ["a"] or { ours = "theirs" }
  std::int32_t max_concurrent = 64;        // requests at work there
  bool fallback = false;                   // only where no replica of our own takes the request
  std::string health_path = "/v1/models";  // 2xx where it lives
  std::int64_t connect_timeout_ms = 5'000;
  std::int64_t health_interval_ms = 5'000;
  SourceLine line;
  bool operator==(const UpstreamConfig&) const = default;
};

// [[key]]: who may use what. Without any, everybody may use every model, and nobody load or unload.
struct KeyConfig {
  std::string name;                 // in logs and metrics; the key itself never is
  std::string key;                  // empty with `anonymous`
  std::string key_file;             // its first line is the key; read by load_fleet_config
  bool anonymous = false;           // the limits of requests without a key
  std::vector<std::string> models;  // their names; empty: all
  bool admin = false;               // may load, unload, reload and read logs
  std::optional<std::int32_t> max_concurrent;  // nullopt: no limit of its own
  std::optional<std::int32_t> max_queued;
  std::optional<std::int64_t> requests_per_minute;
  std::optional<std::int64_t> tokens_per_minute;  // prompt and answer
  SourceLine line;
  bool operator==(const KeyConfig&) const = default;
};

// A fleet.toml: everything checked that can be checked without a machine.
struct FleetConfig {
  FleetListen listen;
  TrafficLimits limits;  // for models that only upstreams serve
  PlacementPolicy placement;
  SupervisionPolicy supervision;
  BreakerPolicy breaker;
  std::vector<ModelConfig> models;  // in the file's order, names and aliases all different
  std::vector<WorkerConfig> workers;
  std::vector<UpstreamConfig> upstreams;
  std::vector<KeyConfig> keys;

  // By name or alias; nullptr where no [[model]] is called so.
  const ModelConfig* find_model(std::string_view name) const;
  const WorkerConfig* find_worker(std::string_view name) const;
  // The name proper: of the [[model]] with this name or alias, or the name itself where an upstream
  // serves it; nullopt where nobody does.
  std::optional<std::string> canonical_name(std::string_view name) const;
  // What clients may ask for, without aliases: models, then names that only upstreams serve.
  std::vector<std::string> served_names() const;
  bool operator==(const FleetConfig&) const = default;
};

// What a file came to: the configuration where there are no errors.
struct FleetConfigOutcome {
  FleetConfig config;
  std::vector<Error> errors;  // all of them, by line; each names file, line and key
};

// Reads TOML. Relative paths are relative to `folder` ("" leaves them). Opens nothing.
// Every unknown key, wrong type, value out of range, clash of names or ports, and reference to
// nothing is an error; a misspelt name comes with the nearest that is known.
FleetConfigOutcome parse_fleet_config(std::string_view toml, const std::string& where,
                                      const std::string& folder);

// The same of a file, with what needs the file system: key files are read, model files and the
// commands of workers must be there. Blocks on the disk.
FleetConfigOutcome load_fleet_config(const std::string& path);

// The errors as one: the first, and how many more there are.
Error first_of(const std::vector<Error>& errors);

}  // namespace tandem
