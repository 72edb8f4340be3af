// FleetCore: what it shows of itself, and how it takes over another configuration.

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "fleet/fleet_core.h"

namespace tandem {
namespace {

// What a worker is started from: another one is needed where this differs.
bool is_same_worker(const ModelConfig& before, const ModelConfig& after,
                    const FleetConfig& config_before, const FleetConfig& config_after) {
  const WorkerConfig* old_worker = config_before.find_worker(before.worker);
  const WorkerConfig* new_worker = config_after.find_worker(after.worker);
  const bool is_same_command = (old_worker == nullptr) == (new_worker == nullptr) &&
                               (old_worker == nullptr || *old_worker == *new_worker);
  return before.file == after.file && before.builtin == after.builtin &&
         before.placement == after.placement && before.arguments == after.arguments &&
         is_same_command;
}

std::vector<std::vector<std::string>> devices_of(const PlacedModel& placed) {
  std::vector<std::vector<std::string>> devices;
  for (const PlacedReplica& replica : placed.replicas) devices.push_back(replica.devices);
  return devices;
}

}  // namespace

void FleetCore::reload(std::function<void(Status)> done) {
  if (std::exchange(is_reloading_, true)) {
    return done(Error{ErrorCode::kBusy, "the configuration is being read already", {}, {}, {}});
  }
  reader_.post([this, done = std::move(done)] {
    auto read = std::make_shared<Result<std::pair<FleetConfig, FleetLayout>>>(options_.read());
    loop_.post([this, done, read] {
      is_reloading_ = false;
      Status status = read->ok() ? apply(std::move((*read)->first), std::move((*read)->second))
                                 : Status(read->error());
      if (status.ok()) {
        spdlog::info("the configuration was read again");
      } else {
        spdlog::error("the old configuration stays: {}", status.error().to_string());
      }
      done(std::move(status));
    });
  });
}

Status FleetCore::apply(FleetConfig config, FleetLayout layout) {
  if (is_draining_) return Error{ErrorCode::kBusy, "the fleet is shutting down", {}, {}, {}};
  if (layout.pool_bytes != layout_.pool_bytes) {
    return unsupported("[placement]", "devices and reserves change with a restart of the fleet");
  }
  if (config.listen.addresses != config_.listen.addresses ||
      config.listen.certificate_file != config_.listen.certificate_file ||
      config.listen.key_file != config_.listen.key_file) {
    return unsupported("[fleet]", "addresses and certificates change with a restart of the fleet");
  }
  const FleetConfig before = std::exchange(config_, std::move(config));
  const FleetLayout placed_before = std::exchange(layout_, std::move(layout));
  const Status status = add_upstreams();
  if (!status.ok()) {
    config_ = before;
    layout_ = placed_before;
    return status;
  }
  traffic_.configure(config_, now_ms());
  forget_removed(before);
  apply_models(before, placed_before);
  if (options_.on_reloaded) options_.on_reloaded();
  for (const auto& [name, model] : models_) serve_waiting(name);
  return {};
}

void FleetCore::forget_removed(const FleetConfig& before) {
  for (const ModelConfig& model : before.models) {
    if (config_.find_model(model.name) != nullptr &&
        config_.find_model(model.name)->name == model.name) {
      continue;
    }
    models_[model.name].is_removed = true;
    carry_out(residency_.remove_model(model.name, now_ms()));
    after_stop(model.name);
  }
  const std::vector<std::string> names = config_.served_names();
  std::erase_if(models_, [&](const auto& entry) {
    return !entry.second.runtime && std::ranges::find(names, entry.first) == names.end();
  });
}

void FleetCore::apply_models(const FleetConfig& before, const FleetLayout& placed_before) {
  for (const ModelConfig& model : config_.models) {
    const auto old = std::ranges::find(before.models, model.name, &ModelConfig::name);
    const bool is_new = old == before.models.end() || models_[model.name].is_removed;
    add_model(model);
    if (!is_new) {
      const auto placed = layout_.models.find(model.name);
      const auto old_placed = placed_before.models.find(model.name);
      const bool is_placed =
          placed != layout_.models.end() && old_placed != placed_before.models.end();
      const bool is_moved = !is_placed || placed->second.needs != old_placed->second.needs;
      const bool is_rebuilt = is_moved || !is_same_worker(*old, model, before, config_) ||
                              devices_of(placed->second) != devices_of(old_placed->second);
      apply_change(model, is_rebuilt, is_moved);
    }
    if (!model.residency.on_demand) carry_out(residency_.load(model.name, now_ms()));
  }
  for (const std::string& name : config_.served_names()) models_[name];
}

// Where the memory it takes stays the same, its replicas are replaced one after the other; else it
// is unloaded, which frees what it has, and loaded anew when it is wanted.
void FleetCore::apply_change(const ModelConfig& after, bool is_rebuilt, bool is_moved) {
  Model& model = models_[after.name];
  const auto view = residency_.view(after.name);
  if (!is_rebuilt || !view || model.runtime->is_stopped()) return;
  spdlog::info("{}: changed, its workers are replaced", after.name);
  if (is_moved || view->state != ModelState::kReady) {
    return carry_out(residency_.unload(after.name, now_ms()));
  }
  model.runtime->roll(layout_.models.at(after.name).replicas, settings_maker(after.name),
                      config_.supervision.drain_timeout_ms);
}

ModelStatus FleetCore::status_of(const std::string& name, const Model& model) const {
  ModelStatus status;
  status.name = name;
  status.counters = model.counters;
  status.is_local = model.runtime != nullptr;
  if (const ModelConfig* config = config_.find_model(name); config != nullptr) {
    status.aliases = config->aliases;
    status.on_demand = config->residency.on_demand;
    status.pinned = config->residency.pinned;
  }
  if (const auto placed = layout_.models.find(name); placed != layout_.models.end()) {
    status.context_tokens = placed->second.context_tokens;
    const std::size_t num_pools = std::min(placed->second.needs.size(), layout_.devices.size());
    for (std::size_t i = 0; i < num_pools; ++i) {
      if (placed->second.needs[i] == 0) continue;
      status.memory.push_back({layout_.devices[i].id, placed->second.needs[i]});
    }
  }
  bool has_ready = false;
  const auto add = [&](const Backend& backend) {
    status.backends.push_back(backend.status());
    BackendStatus& added = status.backends.back();
    traffic_.describe(backend, added, now_ms());
    status.running += added.running;
    has_ready = has_ready || added.state == "ready";
  };
  if (model.runtime) {
    for (const auto& replica : model.runtime->replicas()) add(*replica);
  }
  for (const auto& upstream : upstreams_) {
    if (upstream->serves(name)) add(*upstream);
  }
  const auto waiting = for_places_.find(name);
  if (waiting != for_places_.end()) {
    status.waiting = static_cast<std::int32_t>(waiting->second.size());
  }
  if (const auto view = residency_.view(name)) {
    status.state = name_of(view->state);
    status.reason = view->failure;
    status.waiting += view->num_waiting;
  } else {
    status.state = has_ready ? "ready" : "failed";
    if (!has_ready && !status.backends.empty()) status.reason = status.backends[0].reason;
  }
  return status;
}

FleetStatus FleetCore::status() const {
  FleetStatus status;
  status.started_unix_s = started_unix_s_;
  status.is_draining = is_draining_;
  for (const auto& [name, model] : models_) {
    if (model.is_removed) continue;
    status.models.push_back(status_of(name, model));
    const ModelConfig* config = config_.find_model(name);
    const bool starts = config != nullptr && !config->residency.on_demand;
    status.is_starting = status.is_starting || (starts && !model.was_settled);
  }
  status.devices = layout_.devices;
  const std::vector<std::int64_t> used = residency_.used_bytes();
  for (std::size_t i = 0; i < std::min(used.size(), status.devices.size()); ++i) {
    status.devices[i].used_bytes = used[i];
  }
  return status;
}

void FleetCore::count(const ProxiedRequest::Ending& ending) {
  const auto found = models_.find(ending.model);
  if (found == models_.end()) return;
  ModelCounters& counters = found->second.counters;
  counters.retries += ending.num_retries;
  counters.events += ending.num_events;
  counters.wait_s += static_cast<double>(ending.waited_us) / 1e6;
  if (ending.broke) {
    ++counters.broken;
  } else if (ending.status == 499) {
    ++counters.cancelled;
  } else if (ending.status == 429) {
    ++counters.refused;
  } else {
    ++(ending.status < 400   ? counters.requests_2xx
       : ending.status < 500 ? counters.requests_4xx
                             : counters.requests_5xx);
  }
}

}  // namespace tandem
