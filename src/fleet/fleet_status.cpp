#include "fleet/fleet_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "server/http/prometheus_text.h"

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json to_json(const std::vector<DeviceShare>& shares) {
  Json devices = Json::array();
  for (const DeviceShare& share : shares) {
    devices.push_back({{"device", share.device}, {"bytes", share.bytes}});
  }
  return devices;
}

Json to_json(const BackendStatus& backend) {
  return {{"name", backend.name},
          {"state", backend.state},
          {"reason", text_or_null(backend.reason)},
          {"pid", backend.pid > 0 ? Json(backend.pid) : Json(nullptr)},
          {"devices", to_json(backend.devices)},
          {"restarts", backend.restarts},
          {"failed_device", text_or_null(backend.failed_device)},
          {"device_failures", backend.device_failures},
          {"load_s", backend.load_s},
          {"running", backend.running},
          {"outstanding_tokens", backend.outstanding_tokens},
          {"breaker", backend.breaker}};
}

Json model_object(const ModelStatus& model, std::int64_t created_unix_s) {
  Json placement = Json::array();
  for (const BackendStatus& backend : model.backends) placement.push_back(to_json(backend));
  return {
      {"id", model.name},
      {"object", "model"},
      {"created", created_unix_s},
      {"owned_by", "tandem"},
      {"aliases", model.aliases},
      {"status", model.state},
      {"reason", text_or_null(model.reason)},
      {"load", model.is_local ? Json(model.on_demand ? "on-demand" : "startup") : Json(nullptr)},
      {"pinned", model.pinned},
      {"running", model.running},
      {"waiting", model.waiting},
      {"memory", to_json(model.memory)},
      {"placement", std::move(placement)},
      {"meta", {{"n_ctx", model.context_tokens > 0 ? Json(model.context_tokens) : Json()}}}};
}

class Metrics {
 public:
  explicit Metrics(const FleetStatus& status) : status_(status) {}

  template <typename Value>
  void of_models(std::string_view name, std::string_view type, std::string_view help, Value value) {
    head(name, type, help);
    for (const ModelStatus& model : status_.models) {
      text_ += fmt::format("{}{{model=\"{}\"}} {}\n", name, metric_label(model.name), value(model));
    }
  }
  template <typename Value>
  void of_backends(std::string_view name, std::string_view type, std::string_view help,
                   Value value) {
    head(name, type, help);
    for (const ModelStatus& model : status_.models) {
      for (const BackendStatus& backend : model.backends) {
        text_ += fmt::format("{}{{model=\"{}\",backend=\"{}\"}} {}\n", name,
                             metric_label(model.name), metric_label(backend.name), value(backend));
      }
    }
  }
  void requests() {
    constexpr std::string_view kName = "tandem:fleet_requests_total";
    head(kName, "counter", "Requests, by their end.");
    for (const ModelStatus& model : status_.models) {
      const ModelCounters& c = model.counters;
      const auto add = [&](std::string_view end, std::int64_t count) {
        text_ += fmt::format("{}{{model=\"{}\",end=\"{}\"}} {}\n", kName, metric_label(model.name),
                             end, count);
      };
      add("2xx", c.requests_2xx);
      add("4xx", c.requests_4xx);
      add("5xx", c.requests_5xx);
      add("refused", c.refused);
      add("cancelled", c.cancelled);
      add("broken", c.broken);
    }
  }
  void states() {
    constexpr std::string_view kName = "tandem:fleet_model_state";
    head(kName, "gauge", "1 at the state that the model is in.");
    for (const ModelStatus& model : status_.models) {
      for (const char* state : {"unloaded", "loading", "ready", "draining", "failed"}) {
        text_ += fmt::format("{}{{model=\"{}\",state=\"{}\"}} {}\n", kName,
                             metric_label(model.name), state, model.state == state ? 1 : 0);
      }
    }
  }
  void placement() {
    constexpr std::string_view kName = "tandem:fleet_placed_bytes";
    head(kName, "gauge", "Memory that is planned for a replica on a device.");
    for (const ModelStatus& model : status_.models) {
      for (const BackendStatus& backend : model.backends) {
        for (const DeviceShare& share : backend.devices) {
          text_ += fmt::format("{}{{model=\"{}\",backend=\"{}\",device=\"{}\"}} {}\n", kName,
                               metric_label(model.name), metric_label(backend.name),
                               metric_label(share.device), share.bytes);
        }
      }
    }
  }
  void devices() {
    head("tandem:fleet_device_bytes", "gauge", "Memory of a device, and what is planned for it.");
    for (const DeviceStatus& device : status_.devices) {
      const auto add = [&](std::string_view kind, std::int64_t bytes) {
        text_ += fmt::format("tandem:fleet_device_bytes{{device=\"{}\",kind=\"{}\"}} {}\n",
                             metric_label(device.id), kind, bytes);
      };
      add("capacity", device.capacity_bytes);
      add("used", device.used_bytes);
    }
  }
  void of_all(std::string_view name, std::string_view help, std::int64_t value) {
    head(name, "gauge", help);
    text_ += fmt::format("{} {}\n", name, value);
  }

  std::string take() { return std::move(text_); }

 private:
  void head(std::string_view name, std::string_view type, std::string_view help) {
    append_metric_head(text_, name, type, help);
  }

  const FleetStatus& status_;
  std::string text_;
};

}  // namespace

std::string model_json(const ModelStatus& model, std::int64_t created_unix_s) {
  return dump(model_object(model, created_unix_s));
}

std::string model_list_json(const FleetStatus& status, const std::vector<std::string>& names) {
  Json data = Json::array();
  for (const ModelStatus& model : status.models) {
    if (std::ranges::find(names, model.name) == names.end()) continue;
    data.push_back(model_object(model, status.started_unix_s));
  }
  return dump({{"object", "list"}, {"data", std::move(data)}});
}

std::string status_json(const FleetStatus& status) {
  Json devices = Json::array();
  for (const DeviceStatus& device : status.devices) {
    devices.push_back({{"id", device.id},
                       {"name", device.name},
                       {"capacity_bytes", device.capacity_bytes},
                       {"used_bytes", device.used_bytes}});
  }
  Json models = Json::array();
  for (const ModelStatus& model : status.models) {
    models.push_back(model_object(model, status.started_unix_s));
  }
  return dump({{"devices", std::move(devices)},
               {"models", std::move(models)},
               {"connections", status.connections},
               {"draining", status.is_draining},
               {"starting", status.is_starting}});
}

std::string metrics_text(const FleetStatus& status) {
  Metrics metrics(status);
  metrics.requests();
  metrics.states();
  const auto model = [&](std::string_view name, std::string_view type, std::string_view help,
                         auto value) { metrics.of_models(name, type, help, value); };
  model("tandem:fleet_retries_total", "counter", "Requests sent to another backend.",
        [](const ModelStatus& m) { return m.counters.retries; });
  model("tandem:fleet_events_total", "counter", "Events of streams passed on.",
        [](const ModelStatus& m) { return m.counters.events; });
  model("tandem:fleet_wait_seconds_total", "counter", "Time that requests waited for a place.",
        [](const ModelStatus& m) { return m.counters.wait_s; });
  model("tandem:fleet_loads_total", "counter", "Loads begun.",
        [](const ModelStatus& m) { return m.counters.loads; });
  model("tandem:fleet_unloads_total", "counter",
        "Unloads: for want of room, for idleness, or by hand.",
        [](const ModelStatus& m) { return m.counters.unloads; });
  model("tandem:fleet_requests_running", "gauge", "Requests at work.",
        [](const ModelStatus& m) { return m.running; });
  model("tandem:fleet_requests_waiting", "gauge", "Requests that wait.",
        [](const ModelStatus& m) { return m.waiting; });
  metrics.of_backends("tandem:fleet_backend_ready", "gauge", "1 where it takes requests.",
                      [](const BackendStatus& b) { return b.state == "ready" ? 1 : 0; });
  metrics.of_backends("tandem:fleet_backend_restarts_total", "counter", "Starts after the first.",
                      [](const BackendStatus& b) { return b.restarts; });
  metrics.of_backends("tandem:fleet_backend_device_failures_total", "counter",
                      "Processes that ended because a device failed under them.",
                      [](const BackendStatus& b) { return b.device_failures; });
  metrics.of_backends("tandem:fleet_backend_running", "gauge", "Requests at work there.",
                      [](const BackendStatus& b) { return b.running; });
  metrics.of_backends("tandem:fleet_backend_breaker_open", "gauge", "1 where it is left alone.",
                      [](const BackendStatus& b) { return b.breaker == "open" ? 1 : 0; });
  metrics.placement();
  metrics.devices();
  metrics.of_all("tandem:fleet_connections", "Open connections of clients.", status.connections);
  return metrics.take();
}

}  // namespace tandem
