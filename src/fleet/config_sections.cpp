#include "fleet/config_sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "machine/device_list.h"

namespace tandem {
namespace {

constexpr std::size_t kLongestName = 200;
constexpr std::int64_t kMostRequests = 1 << 20;
constexpr std::int64_t kMostBodyBytes = kGiB;

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || status != std::errc() || end != text.data() + text.size()) return {};
  return port;
}

bool is_host(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return std::isalnum(letter) || letter == '.' || letter == '-' || letter == '_';
  });
}

bool is_ipv6(std::string_view text) {
  return text.find(':') != std::string_view::npos &&
         std::all_of(text.begin(), text.end(), [](unsigned char letter) {
           return std::isxdigit(letter) || letter == ':' || letter == '.';
         });
}

struct HostPort {
  std::string host;
  std::optional<std::string> port;
};

// "host", "host:port", "[v6]:port".
std::optional<HostPort> split_host(std::string_view text) {
  HostPort out;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos || !is_ipv6(text.substr(1, close - 1))) return {};
    out.host = text.substr(1, close - 1);
    text.remove_prefix(close + 1);
    if (text.empty()) return out;
    if (!text.starts_with(':')) return {};
    out.port = text.substr(1);
    return out;
  }
  const std::size_t colon = text.find(':');
  out.host = text.substr(0, colon);
  if (colon != std::string_view::npos) out.port = text.substr(colon + 1);
  return out;
}

// http[s]://host[:port][/prefix]
bool parse_url(std::string_view url, UpstreamConfig& upstream) {
  for (const auto& [scheme, tls] : {std::pair{"http://", false}, std::pair{"https://", true}}) {
    if (!url.starts_with(scheme)) continue;
    upstream.tls = tls;
    std::string_view rest = url.substr(std::string_view(scheme).size());
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    std::string_view path = rest.substr(slash);
    while (path.ends_with('/')) path.remove_suffix(1);
    const bool clean = std::all_of(path.begin(), path.end(), [](unsigned char letter) {
      return letter > 0x20 && letter < 0x7f && letter != '?' && letter != '#';
    });
    const auto where = split_host(rest.substr(0, slash));
    if (!clean || !where || (!is_host(where->host) && !is_ipv6(where->host))) return false;
    upstream.host = where->host;
    upstream.base_path = path;
    upstream.port = tls ? 443 : 80;
    if (!where->port) return true;
    const auto port = parse_port(*where->port);
    upstream.port = port.value_or(0);
    return upstream.port != 0;
  }
  return false;
}

void read_url_path(ConfigTable& table, std::string_view key, std::string& path) {
  std::string text = path;
  table.read(key, text);
  const bool clean = std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return letter > 0x20 && letter < 0x7f && letter != '#';
  });
  if (!clean || !text.starts_with('/')) {
    return table.wrong(key, "a path such as \"/health\"", "\"" + text + "\"");
  }
  path = text;
}

void read_upstream_models(ConfigTable& table, UpstreamConfig& upstream) {
  const toml::node* node = table.node("models");
  if (node == nullptr) {
    return table.add_error(table.line(), "no `models`",
                           "models = [\"name\"] or models = { ours = \"theirs\" }");
  }
  if (const toml::table* names = node->as_table()) {
    for (const auto& [name, remote] : *names) {
      const auto text = remote.value_exact<std::string>();
      if (!text || text->empty() || name.str().empty()) {
        return table.wrong("models", "names as texts: { ours = \"theirs\" }", describe(remote));
      }
      upstream.models.push_back({std::string(name.str()), *text});
    }
  } else {
    std::vector<std::string> list;
    table.read("models", list);
    for (const std::string& name : list) upstream.models.push_back({name, name});
  }
  if (upstream.models.empty()) table.wrong("models", "at least one name");
}

// That a worker's command names only what can be put in, and where it listens.
void check_command(ConfigTable& table, const std::vector<std::string>& command) {
  static const std::vector<std::string> kPlaceholders = {
      "model", "name", "host", "port", "context", "parallel", "kv_type", "devices"};
  bool has_port = false;
  for (const std::string& word : command) {
    for (std::size_t open = word.find('{'); open != std::string::npos;
         open = word.find('{', open + 1)) {
      const std::size_t close = word.find('}', open);
      if (close == std::string::npos) continue;
      const std::string name = word.substr(open + 1, close - open - 1);
      has_port = has_port || name == "port";
      const bool is_name = !name.empty() && std::all_of(name.begin(), name.end(), [](char letter) {
        return (letter >= 'a' && letter <= 'z') || letter == '_';
      });
      // Braces around anything else are the command's own: JSON, say.
      if (!is_name ||
          std::find(kPlaceholders.begin(), kPlaceholders.end(), name) != kPlaceholders.end()) {
        continue;
      }
      table.wrong("command", "{" + fmt::format("{}", fmt::join(kPlaceholders, "}, {")) + "}",
                  "{" + name + "}" + nearest_of(name, kPlaceholders));
    }
  }
  if (command.empty()) return table.add_error(table.line(), "no `command`", "an array of texts");
  if (!has_port) table.wrong("command", "{port} somewhere: the port that it is to listen on");
}

}  // namespace

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const auto where = split_host(text);
  if (!where || !where->port) return {};
  const auto port = parse_port(*where->port);
  if (!port) return {};
  if (where->host.empty()) return ListenAddress{"0.0.0.0", *port};
  if (!is_host(where->host) && !is_ipv6(where->host)) return {};
  return ListenAddress{where->host, *port};
}

void read_name(ConfigTable& table, std::string_view kind, std::string& name) {
  if (!table.has("name")) table.add_error(table.line(), "no `name`", "name = \"...\"");
  table.read("name", name);
  const bool clean = std::all_of(name.begin(), name.end(), [](unsigned char letter) {
    return letter >= 0x20 && letter != 0x7f;
  });
  if (!clean || name.size() > kLongestName) {
    table.wrong("name", fmt::format("1 to {} bytes without control characters", kLongestName));
    name.clear();
  }
  if (!name.empty()) table.set_title(fmt::format("[[{}]] {}", kind, name));
}

void read_path(ConfigTable& table, std::string_view key, const std::string& folder,
               std::string& path) {
  std::string text;
  table.read(key, text);
  if (!text.empty()) path = (std::filesystem::path(folder) / text).lexically_normal().string();
}

void check_devices(ConfigTable& table, std::string_view key,
                   const std::vector<std::string>& devices) {
  if (devices.empty()) return;
  const auto specs = parse_device_list(fmt::format("{}", fmt::join(devices, ",")));
  const bool lists = std::any_of(devices.begin(), devices.end(), [](const std::string& entry) {
    return entry.find(',') != std::string::npos;
  });
  if (lists) return table.wrong(key, "one device an entry: [\"cuda:0\", \"cuda:1\"]");
  if (!specs.ok())
    return table.wrong(key, "devices as --devices takes them",
                       specs.error().what + ": " + specs.error().got);
  if (specs->front().kind == DeviceSpec::Kind::kAuto) {
    table.wrong(key, "devices, or no such key for all of them", "\"auto\" in a list");
  }
}

void read_listen(ConfigTable& table, const std::string& folder, FleetListen& listen) {
  std::vector<std::string> addresses;
  if (const toml::node* node = table.node("listen"); node != nullptr && node->is_string()) {
    addresses.push_back(*node->value_exact<std::string>());
  } else {
    table.read("listen", addresses);
    if (node != nullptr && node->is_array() && node->as_array()->empty()) {
      table.wrong("listen", "at least one address");
    }
  }
  if (!addresses.empty()) listen.addresses.clear();
  for (const std::string& text : addresses) {
    if (const auto address = parse_listen_address(text)) {
      listen.addresses.push_back(*address);
    } else {
      table.wrong("listen", "\"host:port\", \"[::1]:port\" or \":port\"", "\"" + text + "\"");
    }
  }
  read_path(table, "ssl_cert_file", folder, listen.certificate_file);
  read_path(table, "ssl_key_file", folder, listen.key_file);
  if (listen.certificate_file.empty() != listen.key_file.empty()) {
    table.add_error(table.line(), "`ssl_cert_file` and `ssl_key_file` go together");
  }
  table.read("cors_origins", listen.origins);
  table.read("allowed_hosts", listen.hosts);
  table.read("max_connections", listen.max_connections, 1, kMostRequests);
  table.read_bytes("max_body", listen.max_body_bytes);
  if (listen.max_body_bytes < 1 || listen.max_body_bytes > kMostBodyBytes) {
    table.wrong("max_body", "from 1 byte to 1 GiB", std::to_string(listen.max_body_bytes));
  }
  table.read("webui", listen.serve_page);
  read_path(table, "log_dir", folder, listen.log_dir);
}

void read_limits(ConfigTable& table, TrafficLimits& limits) {
  table.read("max_concurrent", limits.max_concurrent, 0, kMostRequests);
  table.read("max_queued", limits.max_queued, 0, kMostRequests);
  table.read_seconds("queue_timeout_s", limits.queue_timeout_ms);
  table.read_seconds("first_event_timeout_s", limits.first_event_timeout_ms);
  table.read_seconds("stall_timeout_s", limits.stall_timeout_ms);
  table.read("max_retries", limits.max_retries, 0, 16);
}

void read_placement(ConfigTable& table, PlacementPolicy& placement) {
  table.read("devices", placement.devices);
  check_devices(table, "devices", placement.devices);
  placement.devices_line = {table.line_of("devices")};
  table.read_bytes("gpu_reserve", placement.gpu_reserve_bytes);
  table.read_bytes("host_reserve", placement.host_reserve_bytes);
}

void read_supervision(ConfigTable& table, SupervisionPolicy& policy) {
  table.read_seconds("restart_delay_s", policy.restart_delay_ms);
  table.read_seconds("restart_delay_max_s", policy.restart_delay_max_ms);
  if (policy.restart_delay_max_ms < policy.restart_delay_ms) {
    table.wrong("restart_delay_max_s", "at least restart_delay_s");
  }
  table.read("max_restarts", policy.max_restarts, 1, 1000);
  table.read_seconds("restart_window_s", policy.restart_window_ms);
  table.read_seconds("failed_cooldown_s", policy.failed_cooldown_ms);
  table.read_seconds("health_interval_s", policy.health_interval_ms, 10);
  table.read_seconds("health_timeout_s", policy.health_timeout_ms, 10);
  table.read_seconds("hang_timeout_s", policy.hang_timeout_ms, 10);
  table.read_seconds("drain_timeout_s", policy.drain_timeout_ms, 0);
  table.read_seconds("kill_delay_s", policy.kill_delay_ms, 0);
}

void read_breaker(ConfigTable& table, BreakerPolicy& policy) {
  table.read("failures", policy.failures, 1, 10'000);
  table.read_seconds("window_s", policy.window_ms, 10);
  table.read_seconds("open_s", policy.open_ms, 10);
}

void read_worker(ConfigTable& table, const std::string& folder, WorkerConfig& worker) {
  worker.line = {table.line()};
  read_name(table, "worker", worker.name);
  table.read("command", worker.command);
  check_command(table, worker.command);
  // A program beside the file; one without a slash is looked for in PATH.
  if (!worker.command.empty() && worker.command.front().find('/') != std::string::npos) {
    worker.command.front() =
        (std::filesystem::path(folder) / worker.command.front()).lexically_normal().string();
  }
  table.table("env", [&](ConfigTable& variables) {
    for (const std::string& name : variables.keys()) {
      variables.read(name, worker.environment[name]);
      const bool named =
          !name.empty() && name.find_first_of(std::string_view("=\0", 2)) == std::string::npos;
      if (!named) variables.wrong(name, "a variable's name");
      if (name == "CUDA_VISIBLE_DEVICES") {
        variables.wrong(name, "no such variable: the placement sets it");
      }
    }
  });
  read_url_path(table, "health_path", worker.health_path);
}

void read_upstream(ConfigTable& table, const std::string& folder, UpstreamConfig& upstream) {
  upstream.line = {table.line()};
  read_name(table, "upstream", upstream.name);
  std::string url;
  table.read("url", url);
  if (!parse_url(url, upstream)) {
    table.wrong("url", "http://host:port or https://host/prefix", "\"" + url + "\"");
  }
  read_path(table, "ca_file", folder, upstream.ca_file);
  if (!upstream.ca_file.empty() && !upstream.tls) {
    table.wrong("ca_file", "an https:// URL to go with it");
  }
  table.read("api_key", upstream.api_key);
  read_path(table, "api_key_file", folder, upstream.api_key_file);
  if (!upstream.api_key.empty() && !upstream.api_key_file.empty()) {
    table.wrong("api_key", "either `api_key` or `api_key_file`");
  }
  read_upstream_models(table, upstream);
  table.read("max_concurrent", upstream.max_concurrent, 1, kMostRequests);
  table.read("fallback", upstream.fallback);
  read_url_path(table, "health_path", upstream.health_path);
  table.read_seconds("connect_timeout_s", upstream.connect_timeout_ms, 10);
  table.read_seconds("health_interval_s", upstream.health_interval_ms, 10);
}

void read_key(ConfigTable& table, const std::string& folder, KeyConfig& key) {
  key.line = {table.line()};
  read_name(table, "key", key.name);
  table.read("key", key.key);
  read_path(table, "key_file", folder, key.key_file);
  table.read("anonymous", key.anonymous);
  const int ways =
      (key.key.empty() ? 0 : 1) + (key.key_file.empty() ? 0 : 1) + (key.anonymous ? 1 : 0);
  if (ways != 1) {
    table.add_error(table.line(), "one of `key`, `key_file` and `anonymous = true` is needed", {},
                    fmt::format("{} of them", ways));
  }
  table.read("models", key.models);
  if (table.has("models") && key.models.empty()) table.wrong("models", "at least one name");
  table.read("admin", key.admin);
  if (key.admin && key.anonymous) {
    table.wrong("admin", "false for requests without a key: anybody could load and unload");
  }
  table.read("max_concurrent", key.max_concurrent, 1, kMostRequests);
  table.read("max_queued", key.max_queued, 0, kMostRequests);
  table.read("requests_per_minute", key.requests_per_minute, 1, std::int64_t{1} << 32);
  table.read("tokens_per_minute", key.tokens_per_minute, 1, std::int64_t{1} << 40);
}

}  // namespace tandem
