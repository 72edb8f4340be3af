#include "fleet/fleet_config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fleet/config_sections.h"

namespace tandem {
namespace {

constexpr std::size_t kMostConfigBytes = 4 << 20;
constexpr std::size_t kMostKeyBytes = 4096;

void read_all(ConfigTable& top, const std::string& folder, FleetConfig& config) {
  top.table("fleet", [&](ConfigTable& table) {
    config.listen.line = {table.line()};
    read_listen(table, folder, config.listen);
  });
  top.table("limits", [&](ConfigTable& table) { read_limits(table, config.limits); });
  top.table("placement", [&](ConfigTable& table) { read_placement(table, config.placement); });
  top.table("supervision",
            [&](ConfigTable& table) { read_supervision(table, config.supervision); });
  top.table("breaker", [&](ConfigTable& table) { read_breaker(table, config.breaker); });
  top.tables("worker", [&](ConfigTable& table) {
    read_worker(table, folder, config.workers.emplace_back());
  });
  top.tables("model", [&](ConfigTable& table) {
    config.models.emplace_back().limits = config.limits;
    read_model(table, folder, config.models.back());
  });
  top.tables("upstream", [&](ConfigTable& table) {
    read_upstream(table, folder, config.upstreams.emplace_back());
  });
  top.tables("key",
             [&](ConfigTable& table) { read_key(table, folder, config.keys.emplace_back()); });
  top.finish();
  if (config.models.empty() && config.upstreams.empty()) {
    top.add_error(1, "nothing to serve", "at least one [[model]] or [[upstream]]");
  }
}

// The first line of a file, without blanks at its ends.
Result<std::string> read_secret(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line)) return not_found("cannot be read, or is empty", path);
  const std::size_t begin = line.find_first_not_of(" \t\r");
  const std::size_t end = line.find_last_not_of(" \t\r");
  if (begin == std::string::npos || line.size() > kMostKeyBytes) {
    return malformed(path, "no key in its first line");
  }
  return line.substr(begin, end - begin + 1);
}

bool is_readable_file(const std::string& path) {
  std::error_code code;
  return std::filesystem::is_regular_file(path, code) && access(path.c_str(), R_OK) == 0;
}

bool is_program(const std::string& command) {
  const auto runs = [](const std::filesystem::path& path) {
    std::error_code code;
    return std::filesystem::is_regular_file(path, code) && access(path.c_str(), X_OK) == 0;
  };
  if (command.find('/') != std::string::npos) return runs(command);
  const char* variable = std::getenv("PATH");
  std::string_view folders = variable == nullptr ? "" : variable;
  while (!folders.empty()) {
    const std::size_t colon = std::min(folders.find(':'), folders.size());
    if (runs(std::filesystem::path(folders.substr(0, colon)) / command)) return true;
    folders.remove_prefix(std::min(colon + 1, folders.size()));
  }
  return false;
}

void read_secrets(FleetConfig& config, ConfigErrors& errors) {
  const auto fill = [&](const std::string& file, std::string& slot, int line, std::string who) {
    if (file.empty()) return;
    auto secret = read_secret(file);
    if (secret.ok()) {
      slot = *std::move(secret);
    } else {
      errors.add(line, fmt::format("{}: {}", who, secret.error().to_string()));
    }
  };
  for (KeyConfig& key : config.keys) {
    fill(key.key_file, key.key, key.line.number, fmt::format("[[key]] {}: `key_file`", key.name));
  }
  for (UpstreamConfig& upstream : config.upstreams) {
    fill(upstream.api_key_file, upstream.api_key, upstream.line.number,
         fmt::format("[[upstream]] {}: `api_key_file`", upstream.name));
  }
}

void check_files(const FleetConfig& config, ConfigErrors& errors) {
  const auto need = [&](const std::string& file, int line, std::string who) {
    if (file.empty() || is_readable_file(file)) return;
    errors.add(line, std::move(who) + ": no file that can be read", {}, file);
  };
  need(config.listen.certificate_file, config.listen.line.number, "[fleet]: `ssl_cert_file`");
  need(config.listen.key_file, config.listen.line.number, "[fleet]: `ssl_key_file`");
  for (const ModelConfig& model : config.models) {
    need(model.file, model.line.number, fmt::format("[[model]] {}: `file`", model.name));
  }
  for (const UpstreamConfig& upstream : config.upstreams) {
    need(upstream.ca_file, upstream.line.number,
         fmt::format("[[upstream]] {}: `ca_file`", upstream.name));
  }
  for (const WorkerConfig& worker : config.workers) {
    if (worker.command.empty() || is_program(worker.command.front())) continue;
    errors.add(worker.line.number,
               fmt::format("[[worker]] {}: `command`: no such program", worker.name), {},
               worker.command.front());
  }
}

FleetConfigOutcome parse(std::string_view text, const std::string& folder, ConfigErrors& errors,
                         const std::string& where) {
  FleetConfigOutcome outcome;
  if (text.size() > kMostConfigBytes) {
    errors.add(1, fmt::format("more than {} MiB", kMostConfigBytes >> 20));
    return outcome;
  }
  try {
    const toml::table table = toml::parse(text, where);
    ConfigTable top(table, "the file", errors);
    read_all(top, folder, outcome.config);
    check_references(outcome.config, errors);
  } catch (const toml::parse_error& error) {
    errors.add(static_cast<int>(error.source().begin.line),
               "not TOML: " + std::string(error.description()));
  }
  return outcome;
}

}  // namespace

std::string ListenAddress::to_string() const {
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

bool ListenAddress::is_loopback() const {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

const ModelConfig* FleetConfig::find_model(std::string_view name) const {
  for (const ModelConfig& model : models) {
    if (model.name == name ||
        std::find(model.aliases.begin(), model.aliases.end(), name) != model.aliases.end()) {
      return &model;
    }
  }
  return nullptr;
}

const WorkerConfig* FleetConfig::find_worker(std::string_view name) const {
  const auto found = std::find_if(workers.begin(), workers.end(),
                                  [&](const WorkerConfig& worker) { return worker.name == name; });
  return found == workers.end() ? nullptr : &*found;
}

std::optional<std::string> FleetConfig::canonical_name(std::string_view name) const {
  if (const ModelConfig* model = find_model(name)) return model->name;
  for (const UpstreamConfig& upstream : upstreams) {
    for (const UpstreamModel& model : upstream.models) {
      if (model.name == name) return model.name;
    }
  }
  return std::nullopt;
}

std::vector<std::string> FleetConfig::served_names() const {
  std::vector<std::string> names;
  for (const ModelConfig& model : models) names.push_back(model.name);
  for (const UpstreamConfig& upstream : upstreams) {
    for (const UpstreamModel& model : upstream.models) {
      const bool known = find_model(model.name) != nullptr ||
                         std::find(names.begin(), names.end(), model.name) != names.end();
      if (!known) names.push_back(model.name);
    }
  }
  return names;
}

FleetConfigOutcome parse_fleet_config(std::string_view toml, const std::string& where,
                                      const std::string& folder) {
  ConfigErrors errors(where);
  FleetConfigOutcome outcome = parse(toml, folder, errors, where);
  outcome.errors = errors.sorted();
  return outcome;
}

FleetConfigOutcome load_fleet_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    return {{}, {not_found("cannot be opened", path)}};
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return {{}, {Error{ErrorCode::kIo, "cannot be read", path, {}, {}}}};
  ConfigErrors errors(path);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  FleetConfigOutcome outcome = parse(text, folder, errors, path);
  // Where the text is wrong, what the disk says about half of it helps nobody.
  if (errors.empty()) {
    read_secrets(outcome.config, errors);
    check_files(outcome.config, errors);
    check_secrets(outcome.config, errors);
  }
  outcome.errors = errors.sorted();
  return outcome;
}

Error first_of(const std::vector<Error>& errors) {
  Error first = errors.front();
  if (errors.size() > 1) first.what += fmt::format(" [and {} more]", errors.size() - 1);
  return first;
}

}  // namespace tandem
