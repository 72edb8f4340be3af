#include "machine/power_budget.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "machine/cpu_catalogue.h"
#include "machine/gpu_catalogue.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

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
    budget.least_w = std::max(budget.least_w, gpu.power.min_w.value_or(0));
  }
  if (budget.cards_w.empty()) return std::nullopt;
  const auto& cpu = survey.host.host.cpu;
  const CpuFamily* family = cpu ? find_cpu_family(*cpu) : nullptr;
  budget.cpu_w =
      (family != nullptr ? family->power_w : kDefaultCpuW) * survey.host.host.sockets.value_or(1);
  budget.rest_w = survey.build && survey.build->rest_w ? *survey.build->rest_w : kDefaultRestW;
  if (!survey.build) return budget;
  const BuildSpec& build = *survey.build;
  if (build.psu.watts) budget.supply_w = *build.psu.watts * build.psu.count.value_or(1);
  budget.standard = build.psu.standard;
  if (build.circuit.volts && build.circuit.amperes)
    budget.circuit_w = *build.circuit.volts * *build.circuit.amperes;
  return budget;
}

double cards_allowance_w(const PowerBudget& budget) {
  const double others = budget.cpu_w + budget.rest_w;
  double allowance = budget.cards_total_w();
  if (budget.supply_w > 0) {
    allowance = std::min(allowance, budget.supply_w * kSustainedShare - others);
    const auto cards = card_windows();
    const auto supply = supply_windows(budget.standard);
    for (std::size_t i = 0; i < cards.size(); ++i)
      allowance =
          std::min(allowance, (budget.supply_w * supply[i].factor - others) / cards[i].factor);
  }
  if (budget.circuit_w > 0)
    allowance =
        std::min(allowance, budget.circuit_w * kContinuousShare * kSupplyEfficiency - others);
  return allowance;
}

std::optional<double> suggested_limit_w(const PowerBudget& budget) {
  constexpr double kStepW = 10;
  std::vector<double> cards = budget.cards_w;
  if (cards.empty()) return std::nullopt;
  std::sort(cards.begin(), cards.end());
  // From the smallest card up: those below an even share of what is left keep their limits.
  double left = cards_allowance_w(budget);
  double each = cards.back();
  for (std::size_t i = 0; i < cards.size(); ++i) {
    each = left / static_cast<double>(cards.size() - i);
    if (cards[i] > each) break;
    left -= cards[i];
    each = cards.back();
  }
  const double limit = each >= cards.back() ? cards.back() : std::floor(each / kStepW) * kStepW;
  if (limit < cards.back() / 2 || limit < budget.least_w) return std::nullopt;
  return limit;
}

double needed_supply_w(const PowerBudget& budget) {
  constexpr double kStepW = 50;
  return std::ceil(budget.sustained_w() / kSustainedShare / kStepW) * kStepW;
}

double speed_at_limit(double limit_w, double full_w) {
  if (limit_w >= full_w || full_w <= 0) return 1;
  return std::cbrt(limit_w / full_w);
}

}  // namespace tandem
