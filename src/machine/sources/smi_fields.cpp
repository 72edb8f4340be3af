#include "machine/sources/smi_fields.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <initializer_list>
#include <set>

#include "machine/text_scan.h"

namespace tandem {
namespace {

// The first of several names (XML, then text, then older drivers') that has a real value.
class Fields {
 public:
  explicit Fields(const SmiGpuFields& gpu) : gpu_(gpu) {}

  std::optional<std::string> text(std::initializer_list<std::string_view> names) const {
    for (std::string_view name : names) {
      const auto found = gpu_.values.find(name);
      if (found == gpu_.values.end()) continue;
      const std::string& value = found->second;
      if (value.empty() || value == "N/A" || value == "[N/A]" || contains(value, "deprecated") ||
          contains(value, "Unknown Error") || contains(value, "Insufficient Permissions"))
        continue;
      return value;
    }
    return std::nullopt;
  }
  std::optional<std::int64_t> integer(std::initializer_list<std::string_view> names) const {
    const auto value = text(names);
    return value ? leading_int(*value) : std::nullopt;
  }
  std::optional<double> number(std::initializer_list<std::string_view> names) const {
    const auto value = text(names);
    return value ? leading_number(*value) : std::nullopt;
  }
  std::optional<std::int64_t> bytes(std::initializer_list<std::string_view> names) const {
    const auto value = text(names);
    return value ? size_in_bytes(*value) : std::nullopt;
  }
  std::optional<bool> flag(std::initializer_list<std::string_view> names) const {
    const auto value = text(names);
    return value ? yes_or_no(*value) : std::nullopt;
  }
  // A generation or width; mock drivers write 0 for unknown.
  std::optional<int> positive(std::initializer_list<std::string_view> names) const {
    const auto value = integer(names);
    if (!value || *value <= 0 || *value > 64) return std::nullopt;
    return static_cast<int>(*value);
  }

 private:
  const SmiGpuFields& gpu_;
};

std::optional<std::int64_t> sum(std::initializer_list<std::optional<std::int64_t>> terms) {
  std::optional<std::int64_t> total;
  for (const auto& term : terms)
    if (term && *term >= 0 && *term < (std::int64_t{1} << 40)) total = total.value_or(0) + *term;
  return total;
}

void enter_identity(const Fields& f, const std::string& subject, GpuFacts& gpu, SurveyWriter& w) {
  w.learn(gpu.name, f.text({"product_name"}), subject, "name");
  w.learn(gpu.uuid, f.text({"uuid", "gpu_uuid"}), subject, "uuid");
  w.learn(gpu.serial, f.text({"serial", "serial_number"}), subject, "serial number");
  w.read(gpu.architecture, f.text({"product_architecture"}));
  // nvidia-smi rounds to MiB what NVML states in bytes.
  const auto memory = f.bytes({"fb_memory_usage/total"});
  if (!memory || !gpu.memory_bytes || std::abs(*memory - *gpu.memory_bytes) > (1 << 20))
    w.learn(gpu.memory_bytes, memory, subject, "memory");
  w.read(gpu.memory_used_bytes, f.bytes({"fb_memory_usage/used"}));
  w.read(gpu.bar1_bytes, f.bytes({"bar1_memory_usage/total"}));
}

void enter_link(const Fields& f, const std::string& subject, GpuFacts& gpu, SurveyWriter& w) {
  const std::string xml = "pci/pci_gpu_link_info/";
  const std::string txt = "pci/gpu_link_info/";
  w.read(gpu.link.generation,
         f.positive({xml + "pcie_gen/current_link_gen", txt + "pcie_generation/current"}));
  w.read(gpu.link.width,
         f.positive({xml + "link_widths/current_link_width", txt + "link_width/current"}));
  w.learn(gpu.link.max_generation,
          f.positive({xml + "pcie_gen/max_link_gen", txt + "pcie_generation/max"}), subject,
          "highest link generation");
  w.learn(gpu.link.max_width,
          f.positive({xml + "link_widths/max_link_width", txt + "link_width/max"}), subject,
          "widest link");
  w.learn(gpu.card_generation,
          f.positive({xml + "pcie_gen/max_device_link_gen", txt + "pcie_generation/device_max"}),
          subject, "generation of the card");
  w.learn(gpu.slot_generation,
          f.positive({xml + "pcie_gen/max_host_link_gen", txt + "pcie_generation/host_max"}),
          subject, "generation of the slot");
}

// "Mon Nov 25 10:00:00 2024" in seconds; nullopt for other forms.
std::optional<double> seconds_of(const std::string& timestamp) {
  std::tm time{};
  if (strptime(timestamp.c_str(), "%a %b %d %H:%M:%S %Y", &time) == nullptr) return std::nullopt;
  return static_cast<double>(timegm(&time));
}

// A second report of the same machine tells whether packets were repeated in between.
void enter_replays(const Fields& f, const std::optional<std::string>& timestamp, GpuFacts& gpu,
                   SurveyWriter& w) {
  const auto count = f.integer({"pci/replay_counter", "pci/replays_since_reset"});
  if (!count) return;
  if (!gpu.replays) {
    gpu.replays = count;
    gpu.replays_at = timestamp;
    return;
  }
  const auto first = gpu.replays_at ? seconds_of(*gpu.replays_at) : std::nullopt;
  const auto second = timestamp ? seconds_of(*timestamp) : std::nullopt;
  if (!first || !second || *first == *second) return;
  CounterRate rate{*gpu.address, gpu.name.value_or(""), "replays", *gpu.replays,
                   *count,       *second - *first};
  if (*second < *first) {
    std::swap(rate.before, rate.after);
    rate.seconds = -rate.seconds;
  }
  constexpr std::size_t kMaxRates = 1000;
  if (w.survey().rates.size() < kMaxRates) w.survey().rates.push_back(std::move(rate));
}

void enter_power(const Fields& f, GpuFacts& gpu, SurveyWriter& w) {
  const std::string now = "gpu_power_readings/";
  const std::string old = "power_readings/";
  const std::string ceiling = now + "gpu_ceiling_power_limit/";
  w.read(gpu.power.draw_w,
         f.number({now + "instant_power_draw", now + "instantaneous_power_draw",
                   now + "average_power_draw", now + "power_draw", old + "power_draw"}));
  w.read(gpu.power.limit_w, f.number({now + "current_power_limit", ceiling + "current_power_limit",
                                      old + "enforced_power_limit", old + "power_limit"}));
  w.read(gpu.power.default_w,
         f.number({now + "default_power_limit", ceiling + "default_power_limit",
                   old + "default_power_limit"}));
  w.read(gpu.power.min_w, f.number({now + "min_power_limit", old + "min_power_limit"}));
  w.read(gpu.power.max_w, f.number({now + "max_power_limit", old + "max_power_limit"}));
}

void enter_thermals(const Fields& f, GpuFacts& gpu, SurveyWriter& w) {
  const std::string t = "temperature/";
  w.read(gpu.thermals.temperature_c, f.number({t + "gpu_temp", t + "gpu_current_temp"}));
  w.read(gpu.thermals.slowdown_c,
         f.number({t + "gpu_temp_slow_threshold", t + "gpu_slowdown_temp"}));
  // Newer cards report degrees left until the limit; slowdown starts at the (small, often
  // negative) threshold beside it.
  const auto left =
      f.number({t + "gpu_temp_tlimit", t + "gpu_current_t.limit_temp", t + "gpu_t.limit_temp"});
  const auto slow =
      f.number({t + "gpu_temp_slow_tlimit_threshold", t + "gpu_slowdown_t.limit_temp"});
  if (left) w.read(gpu.thermals.headroom_c, std::optional<double>(*left - slow.value_or(0)));
  w.read(gpu.thermals.memory_c, f.number({t + "memory_temp", t + "memory_current_temp"}));
  w.read(gpu.thermals.fan_percent, f.number({"fan_speed"}));
}

void enter_health(const Fields& f, GpuFacts& gpu, SurveyWriter& w) {
  GpuHealth& health = gpu.health;
  w.read(health.ecc_enabled, f.flag({"ecc_mode/current_ecc", "ecc_mode/current"}));
  const auto uncorrectable = [&](const std::string& era) {
    const std::string p = "ecc_errors/" + era + "/";
    return sum({f.integer({p + "dram_uncorrectable"}), f.integer({p + "sram_uncorrectable"}),
                f.integer({p + "sram_uncorrectable_parity"}),
                f.integer({p + "sram_uncorrectable_secded", p + "sram_uncorrectable_sec-ded"}),
                f.integer({p + "double_bit/total"})});
  };
  w.read(health.uncorrectable_since_boot, uncorrectable("volatile"));
  w.read(health.uncorrectable_ever, uncorrectable("aggregate"));
  const std::string r = "retired_pages/";
  w.read(health.retired_pages,
         sum({f.integer({r + "multiple_single_bit_retirement/retired_count", r + "single_bit_ecc"}),
              f.integer({r + "double_bit_retirement/retired_count", r + "double_bit_ecc"})}));
  for (const char* name : {"remapped_rows/remapped_row_pending", "remapped_rows/pending",
                           "retired_pages/pending_retirement", "retired_pages/pending_blacklist"})
    if (const auto pending = f.flag({name}))
      health.repair_pending = health.repair_pending.value_or(false) || *pending;
  w.read(health.repair_failed, f.flag({"remapped_rows/remapped_row_failure",
                                       "remapped_rows/remapping_failure_occurred"}));
  w.read(health.recovery_action, f.text({"gpu_recovery_action"}));
}

void enter_mode(const Fields& f, GpuFacts& gpu, SurveyWriter& w) {
  w.read(gpu.persistence, f.flag({"persistence_mode"}));
  w.read(gpu.display_active, f.flag({"display_active"}));
  w.read(gpu.mig, f.flag({"mig_mode/current_mig", "mig_mode/current"}));
  if (const auto state = f.text({"performance_state"}); state && state->starts_with('P'))
    w.read(gpu.performance_state, leading_int(state->substr(1)));
  w.read(gpu.utilisation_percent, f.number({"utilization/gpu_util", "utilization/gpu"}));
  w.read(gpu.virtualisation, f.text({"gpu_virtualization_mode/virtualization_mode"}));
  w.read(gpu.fabric_state, f.text({"fabric/state"}));
  w.read(gpu.fabric_status, f.text({"fabric/status"}));
}

// The fabric manager's own verdicts, those that are not good.
void enter_fabric(const Fields& f, GpuFacts& gpu) {
  if (!gpu.fabric_faults.empty()) return;
  const auto expect = [&](std::initializer_list<std::string_view> names,
                          std::initializer_list<std::string_view> good, const char* label) {
    const auto value = f.text(names);
    if (!value || std::find(good.begin(), good.end(), *value) != good.end()) return;
    gpu.fabric_faults.push_back(std::string(label) + ": " + *value);
  };
  const std::string h = "fabric/health/";
  expect({h + "summary"}, {"Healthy", "Not Supported"}, "health");
  expect({h + "bandwidth"}, {"Full", "Not Supported"}, "bandwidth");
  expect({h + "route_unhealthy"}, {"False", "Not Supported"}, "route unhealthy");
  expect({h + "access_timeout_recovery"}, {"False", "Not Supported"}, "access timeout recovery");
  expect({h + "incorrect_configuration"}, {"None", "Not Supported"}, "incorrect configuration");
}

void enter_slowdowns(const SmiGpuFields& fields, const Fields& f, GpuFacts& gpu) {
  if (gpu.slowdowns.empty()) gpu.slowdowns = fields.active_reasons;
  const std::string xml = "clocks_event_reasons_counters/clocks_event_reasons_counters_";
  const std::string txt = "clocks_event_reasons_counters/";
  const auto counter = [&](const char* name, const std::string& a, const std::string& b) {
    if (const auto us = f.integer({a, b})) gpu.slowdown_us.emplace(name, *us);
  };
  counter("sw_thermal_slowdown", xml + "sw_therm_slowdown", txt + "sw_thermal_slowdown");
  counter("hw_thermal_slowdown", xml + "hw_therm_slowdown", txt + "hw_thermal_slowdown");
  counter("hw_power_brake_slowdown", xml + "hw_power_brake", txt + "hw_power_braking");
  counter("sw_power_cap", xml + "sw_power_cap", txt + "sw_power_capping");
}

std::string gpu_list(const std::set<PciAddress>& addresses) {
  std::string text;
  for (const PciAddress& address : addresses)
    text += (text.empty() ? "" : " ") + address.to_string();
  return text;
}

// Every report names all GPUs of its machine, so two that differ are of two machines.
Status check_same_machine(const std::set<PciAddress>& addresses, const SmiReport& report,
                          SurveyWriter& writer) {
  std::set<PciAddress> known;
  for (const GpuFacts& gpu : writer.survey().gpus)
    if (gpu.address) known.insert(*gpu.address);
  if (known.empty()) return {};
  if (known != addresses)
    return malformed(writer.source(), "this is another machine than the files read before",
                     "GPUs at " + gpu_list(known), "GPUs at " + gpu_list(addresses));
  for (const SmiGpuFields& fields : report.gpus) {
    const auto name = Fields(fields).text({"product_name"});
    const GpuFacts& gpu = writer.gpu_at(*PciAddress::parse(fields.bus_id));
    if (name && gpu.name && *name != *gpu.name)
      return malformed(writer.source(), "this is another machine than the files read before",
                       *gpu.name + " at " + fields.bus_id, *name);
  }
  return {};
}

}  // namespace

Status enter_smi_report(const SmiReport& report, SurveyWriter& writer) {
  if (report.gpus.empty()) return malformed(writer.source(), "no GPU in this report");
  std::set<PciAddress> addresses;
  for (const SmiGpuFields& fields : report.gpus) {
    const auto address = PciAddress::parse(fields.bus_id);
    if (!address)
      return malformed(writer.source(), "not a bus id", "such as 00000000:01:00.0", fields.bus_id);
    addresses.insert(*address);
  }
  TANDEM_TRY_STATUS(check_same_machine(addresses, report, writer));
  HostFacts& host = writer.survey().host;
  writer.learn(host.driver_version, report.driver_version, "host", "driver version");
  writer.read(host.cuda_version, report.cuda_version);
  for (const SmiGpuFields& fields : report.gpus) {
    const Fields f(fields);
    GpuFacts& gpu = writer.gpu_at(*PciAddress::parse(fields.bus_id));
    const std::string subject = gpu.address->to_string();
    gpu.has_driver = true;
    enter_identity(f, subject, gpu, writer);
    enter_link(f, subject, gpu, writer);
    enter_replays(f, report.timestamp, gpu, writer);
    enter_power(f, gpu, writer);
    enter_thermals(f, gpu, writer);
    enter_health(f, gpu, writer);
    enter_mode(f, gpu, writer);
    enter_fabric(f, gpu);
    enter_slowdowns(fields, f, gpu);
    if (gpu.processes.empty()) gpu.processes = fields.processes;
  }
  return {};
}

}  // namespace tandem
