#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "fleet/config_sections.h"

namespace tandem {
namespace {

// Things of which no two may be called alike.
class Names {
 public:
  explicit Names(ConfigErrors& errors) : errors_(errors) {}

  void add(const std::string& name, int line, const std::string& who) {
    if (name.empty()) return;  // reported where it was read
    const auto [it, is_new] = lines_.try_emplace(name, line);
    if (is_new) return;
    errors_.add(line, fmt::format("{}: \"{}\" is taken", who, name), {},
                fmt::format("it stands in line {} too", it->second));
  }

 private:
  ConfigErrors& errors_;
  std::map<std::string, int> lines_;
};

void check_names(const FleetConfig& config, ConfigErrors& errors) {
  Names models(errors);
  for (const ModelConfig& model : config.models) {
    const std::string who = "[[model]] " + model.name;
    models.add(model.name, model.line.number, who);
    for (const std::string& alias : model.aliases) models.add(alias, model.line.number, who);
  }
  Names workers(errors);
  for (const WorkerConfig& worker : config.workers) {
    workers.add(worker.name, worker.line.number, "[[worker]]");
  }
  Names upstreams(errors);
  for (const UpstreamConfig& upstream : config.upstreams) {
    upstreams.add(upstream.name, upstream.line.number, "[[upstream]]");
    Names served(errors);
    for (const UpstreamModel& model : upstream.models) {
      served.add(model.name, upstream.line.number, "[[upstream]] " + upstream.name);
    }
  }
  Names keys(errors);
  for (const KeyConfig& key : config.keys) keys.add(key.name, key.line.number, "[[key]]");
}

void check_model_names(const FleetConfig& config, ConfigErrors& errors) {
  std::vector<std::string> known = config.served_names();
  for (const ModelConfig& model : config.models) {
    known.insert(known.end(), model.aliases.begin(), model.aliases.end());
  }
  for (const KeyConfig& key : config.keys) {
    for (const std::string& name : key.models) {
      if (config.canonical_name(name)) continue;
      errors.add(key.line.number,
                 fmt::format("[[key]] {}: `models` names \"{}\", which nobody serves{}", key.name,
                             name, nearest_of(name, known)));
    }
  }
}

void check_workers(const FleetConfig& config, ConfigErrors& errors) {
  std::vector<std::string> names;
  for (const WorkerConfig& worker : config.workers) names.push_back(worker.name);
  for (const ModelConfig& model : config.models) {
    if (model.worker.empty() || config.find_worker(model.worker) != nullptr) continue;
    errors.add(model.line.number,
               fmt::format("[[model]] {}: no [[worker]] is called \"{}\"{}", model.name,
                           model.worker, nearest_of(model.worker, names)));
  }
}

bool is_every_address(const std::string& host) {
  return host == "0.0.0.0" || host == "::";
}

// Port 0 is any free one and clashes with nothing.
bool clash(const ListenAddress& a, const ListenAddress& b) {
  return a.port == b.port && a.port != 0 &&
         (a.host == b.host || is_every_address(a.host) || is_every_address(b.host));
}

void check_addresses(const FleetConfig& config, ConfigErrors& errors) {
  struct Taken {
    ListenAddress address;
    std::string by;
  };
  std::vector<Taken> taken;
  const auto take = [&](const ListenAddress& address, int line, const std::string& who) {
    for (const Taken& other : taken) {
      if (!clash(address, other.address)) continue;
      errors.add(line,
                 fmt::format("{}: `listen` {} is taken by {}", who, address.to_string(), other.by));
      return;
    }
    taken.push_back({address, who});
  };
  for (const ListenAddress& address : config.listen.addresses) {
    take(address, config.listen.line.number, "[fleet]");
  }
  for (const ModelConfig& model : config.models) {
    if (model.listen) take(*model.listen, model.line.number, "[[model]] " + model.name);
  }
}

}  // namespace

// Secrets are compared, not shown.
void check_secrets(const FleetConfig& config, ConfigErrors& errors) {
  std::map<std::string, const KeyConfig*> secrets;
  const KeyConfig* anonymous = nullptr;
  for (const KeyConfig& key : config.keys) {
    const KeyConfig* other = nullptr;
    if (!key.key.empty()) {
      other = secrets.try_emplace(key.key, &key).first->second;
    } else if (key.anonymous) {
      if (anonymous == nullptr) anonymous = &key;
      other = anonymous;
    }
    if (other == nullptr || other == &key) continue;
    errors.add(key.line.number,
               fmt::format("[[key]] {}: the same key as that of {}", key.name, other->name));
  }
}

void check_references(const FleetConfig& config, ConfigErrors& errors) {
  check_names(config, errors);
  check_secrets(config, errors);
  check_model_names(config, errors);
  check_workers(config, errors);
  check_addresses(config, errors);
}

}  // namespace tandem
