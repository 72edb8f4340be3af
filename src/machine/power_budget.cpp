#include "machine/power_budget.h"

#include <cmath>
#include <numeric>

#include "machine/cpu_catalogue.h"
#include "machine/gpu_catalogue.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr double kSustainedShare = 0.8;
constexpr double kDefaultRestW = 80;  // board, memory, two drives, fans
constexpr double kDefaultCpuW = 150;

}  // namespace

std::array<ExcursionWindow, 4> supply_windows(const std::string& standard) {
  if (contains(standard, "ATX 3") || contains(standard, "ATX3"))
    return {{{100e-6, 2.0}, {1e-3, 1.8}, {10e-3, 1.6}, {100e-3, 1.2}}};
  return {{{100e-6, 1.4}, {1e-3, 1.3}, {10e-3, 1.2}, {100e-3, 1.1}}};
}

std::array<ExcursionWindow, 4> card_windows() {
  return {{{100e-6, 2.0}, {1e-3, 1.6}, {10e-3, 1.3}, {100e-3, 1.1}}};
}

double PowerBudget::cards_total_w() const {
  return std::accumulate(cards_w.begin(), cards_w.end(), 0.0);
}

std::optional<PowerBudget> power_budget(const Survey& survey) {
  PowerBudget budget;
  for (const GpuFacts& gpu : survey.gpus) {
    const GpuModel* model = find_gpu_model(gpu.name.value_or(""), gpu.memory_bytes);
    const auto watts = gpu.power.limit_w  ? gpu.power.limit_w
                       : model != nullptr ? model->power_w
                                          : std::nullopt;
    if (!watts) return std::nullopt;
    budget.cards_w.push_back(*watts);
  }
  if (budget.cards_w.empty()) return std::nullopt;
  const auto& cpu = survey.host.host.cpu;
  const CpuFamily* family = cpu ? find_cpu_family(*cpu) : nullptr;
  budget.cpu_w =
      (family != nullptr ? family->power_w : kDefaultCpuW) * survey.host.host.sockets.value_or(1);
  budget.rest_w = survey.build && survey.build->rest_w ? *survey.build->rest_w : kDefaultRestW;
  if (survey.build && survey.build->psu.watts)
    budget.supply_w = *survey.build->psu.watts * survey.build->psu.count.value_or(1);
  return budget;
}

std::optional<double> suggested_limit_w(const PowerBudget& budget) {
  const double for_cards = budget.supply_w * kSustainedShare - budget.cpu_w - budget.rest_w;
  const auto count = static_cast<double>(budget.cards_w.size());
  const double each = std::floor(for_cards / count / 10) * 10;
  const double average = budget.cards_total_w() / count;
  if (each < average / 2) return std::nullopt;
  return std::min(each, average);
}

double speed_at_limit(double limit_w, double full_w) {
  if (limit_w >= full_w || full_w <= 0) return 1;
  return std::cbrt(limit_w / full_w);
}

}  // namespace tandem
