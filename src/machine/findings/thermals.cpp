#include <algorithm>
#include <array>

#include "machine/findings/findings.h"

namespace tandem {
namespace {

bool slowed_by(const GpuFacts& gpu, const char* reason) {
  return std::find(gpu.slowdowns.begin(), gpu.slowdowns.end(), reason) != gpu.slowdowns.end();
}

std::string temperature_text(const GpuFacts& gpu) {
  std::string text = gpu.thermals.temperature_c ? number_text(*gpu.thermals.temperature_c) + " C"
                                                : "temperature unknown";
  if (gpu.thermals.slowdown_c)
    text += ", slows down at " + number_text(*gpu.thermals.slowdown_c) + " C";
  if (gpu.thermals.headroom_c)
    text += ", " + number_text(*gpu.thermals.headroom_c) + " C left until it slows down";
  if (gpu.thermals.fan_percent) text += ", fan " + number_text(*gpu.thermals.fan_percent) + " %";
  return text;
}

constexpr const char* kCooling =
    "Clean filters, raise the fan curve, leave a free slot between cards (blower cards or risers "
    "where there is none), or lower the power limit.";

// thermal-slowdown: clocks are down because of heat, now.
bool find_slowdown(const Survey& survey, int index, std::vector<Finding>& findings) {
  const GpuFacts& gpu = gpu_at(survey, index);
  const bool hard = slowed_by(gpu, "hw_thermal_slowdown");
  const bool soft = slowed_by(gpu, "sw_thermal_slowdown");
  if (!hard && !soft) return false;
  findings.push_back({"thermal-slowdown",
                      hard ? Severity::kError : Severity::kWarning,
                      survey.gpu_label(index),
                      "The card slows down because it is too hot",
                      {temperature_text(gpu), std::string("clocks event reason: ") +
                                                  (hard ? "HW" : "SW") + " thermal slowdown"},
                      kCooling,
                      "certain"});
  return true;
}

// temperature: close to the limit, or hot while idle.
void find_heat(const Survey& survey, int index, std::vector<Finding>& findings) {
  const GpuFacts& gpu = gpu_at(survey, index);
  const GpuThermals& t = gpu.thermals;
  constexpr double kMargin = 4;
  const bool near_limit =
      (t.headroom_c && *t.headroom_c <= kMargin) ||
      (t.temperature_c && t.slowdown_c && *t.temperature_c >= *t.slowdown_c - kMargin);
  const bool hot_idle = t.temperature_c && *t.temperature_c >= 80 && gpu.is_idle() == true &&
                        gpu.performance_state.value_or(0) >= 5;
  const bool hot_memory = t.memory_c && *t.memory_c >= 100;  // GDDR6X slows down at 110 C
  if (!near_limit && !hot_idle && !hot_memory) return;
  std::vector<std::string> evidence{temperature_text(gpu)};
  if (hot_memory) evidence.push_back("memory " + number_text(*t.memory_c) + " C");
  findings.push_back({"temperature", Severity::kWarning, survey.gpu_label(index),
                      hot_idle ? "The card is hot though it does nothing"
                               : "The card is close to the temperature at which it slows down",
                      evidence, kCooling, "certain"});
}

// fan-stopped: fans that stand still are normal on a cool card only.
void find_fan(const Survey& survey, int index, std::vector<Finding>& findings) {
  const GpuThermals& t = gpu_at(survey, index).thermals;
  if (!t.fan_percent || *t.fan_percent > 0 || !t.temperature_c || *t.temperature_c < 75) return;
  findings.push_back({"fan-stopped",
                      Severity::kWarning,
                      survey.gpu_label(index),
                      "The fan stands still on a hot card",
                      {temperature_text(gpu_at(survey, index))},
                      "Look whether a cable blocks the fan. On a card without fans of its own, see "
                      "to the chassis' airflow.",
                      "likely"});
}

// Seconds since the driver was loaded that are worth telling. The driver's own limiter counts some
// on every card that is worked hard; what the hardware has to step in for is never normal.
struct CountedSlowdown {
  const char* name;
  const char* words;
  bool by_heat;
  double from_s;
};
constexpr std::array<CountedSlowdown, 3> kCounted{{
    {"hw_thermal_slowdown", "hard slowdown by heat", true, 1},
    {"sw_thermal_slowdown", "slowdown by heat", true, 60},
    {"hw_power_brake_slowdown", "power brake of the supply", false, 1},
}};

// slowdown-history: what the driver counted since it was loaded. It says that cooling or supply was
// too weak under some load, which a card that is idle now does not show.
void find_history(const Survey& survey, int index, std::vector<Finding>& findings) {
  const GpuFacts& gpu = gpu_at(survey, index);
  std::vector<std::string> evidence;
  bool heat = false;
  for (const CountedSlowdown& kind : kCounted) {
    const auto counted = gpu.slowdown_us.find(kind.name);
    if (counted == gpu.slowdown_us.end()) continue;
    const double seconds = static_cast<double>(counted->second) / 1e6;
    if (seconds < kind.from_s) continue;
    heat = heat || kind.by_heat;
    evidence.push_back(std::string(kind.words) + ": " + number_text(seconds) +
                       " s since the driver was loaded");
  }
  if (evidence.empty()) return;
  findings.push_back({"slowdown-history", Severity::kInfo, survey.gpu_label(index),
                      "The card has been slowed down before", evidence,
                      heat ? "Look at temperatures and fans under load (nvidia-smi dmon); then as "
                             "for a card that is too hot now."
                           : "Look at the supply and at the card's cables under load.",
                      "certain"});
}

}  // namespace

void find_thermals(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i) {
    if (!find_slowdown(survey, i, findings)) find_heat(survey, i, findings);
    find_fan(survey, i, findings);
    find_history(survey, i, findings);
  }
}

}  // namespace tandem
