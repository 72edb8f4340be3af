#include <algorithm>
#include <cmath>

#include "machine/findings/findings.h"
#include "machine/power_budget.h"

namespace tandem {
namespace {

std::string watts(double value) {
  return number_text(std::round(value)) + " W";
}

std::string sum_text(const PowerBudget& budget) {
  return "cards " + watts(budget.cards_total_w()) + " + CPU " + watts(budget.cpu_w) + " + rest " +
         watts(budget.rest_w) + " = " + watts(budget.sustained_w()) + "; supply " +
         watts(budget.supply_w);
}

// "Limit each card to 300 W ...", with what that costs; empty where no limit would do.
std::string limit_text(const PowerBudget& budget) {
  const auto limit = suggested_limit_w(budget);
  if (!limit) return {};
  const double full = *std::max_element(budget.cards_w.begin(), budget.cards_w.end());
  const double loss = (1 - speed_at_limit(*limit, full)) * 100;
  return "Limit each card to " + watts(*limit) + " (nvidia-smi -pl " + number_text(*limit) +
         "): prompts about " + number_text(std::round(loss)) +
         " % slower, decoding by less, since memory bounds it.";
}

std::string supply_advice(const PowerBudget& budget) {
  const std::string limit = limit_text(budget);
  return limit + (limit.empty() ? "Get" : " Or get") + " a supply of " +
         watts(needed_supply_w(budget)) + " or more to ATX 3, or two.";
}

// psu-sustained: what all draw for hours against 80 % of the supply.
void find_sustained(const PowerBudget& budget, std::vector<Finding>& findings) {
  const double share = budget.sustained_w() / budget.supply_w;
  if (share <= kSustainedShare) return;
  findings.push_back({"psu-sustained",
                      share > 1 ? Severity::kError : Severity::kWarning,
                      "power supply",
                      "The machine can draw " + number_text(std::round(share * 100)) +
                          " % of its supply for hours; 80 % is the usual limit",
                      {sum_text(budget)},
                      supply_advice(budget),
                      "likely"});
}

// psu-excursion: short peaks of all cards together against what the supply must bear.
void find_excursions(const PowerBudget& budget, std::vector<Finding>& findings) {
  const auto cards = card_windows();
  const auto supply = supply_windows(budget.standard);
  std::vector<std::string> evidence;
  for (std::size_t i = 0; i < cards.size(); ++i) {
    const double peak = budget.peak_w(cards[i].factor);
    const double bearable = budget.supply_w * supply[i].factor;
    if (peak > bearable)
      evidence.push_back(number_text(cards[i].seconds * 1000) + " ms: up to " + watts(peak) +
                         ", the supply must bear " + watts(bearable));
  }
  if (evidence.empty()) return;
  if (budget.standard.empty())
    evidence.emplace_back("no standard of the supply is named: taken for one before ATX 3");
  findings.push_back({"psu-excursion", Severity::kWarning, "power supply",
                      "Short peaks of all cards together may trip the supply", evidence,
                      supply_advice(budget), "possible"});
}

// circuit: what all draw for hours, seen from the wall.
void find_circuit(const PowerBudget& budget, const BuildCircuit& circuit,
                  std::vector<Finding>& findings) {
  if (budget.circuit_w <= 0) return;
  const double wall = budget.wall_w();
  const double bearable = budget.circuit_w * kContinuousShare;
  if (wall <= bearable) return;
  const std::string limit = limit_text(budget);
  findings.push_back({"circuit",
                      wall > budget.circuit_w ? Severity::kError : Severity::kWarning,
                      "wall circuit",
                      "The machine draws more from the wall than the circuit gives for hours",
                      {watts(budget.sustained_w()) + " behind the supply are " + watts(wall) +
                       " from the wall; " + number_text(*circuit.volts) + " V x " +
                       number_text(*circuit.amperes) + " A x 80 % = " + watts(bearable)},
                      limit + (limit.empty() ? "Use" : " Or use") +
                          " a stronger circuit, or a second one with a second supply.",
                      "likely"});
}

// power-source: what feeds the card, as the driver says.
void find_source(const Survey& survey, int index, std::vector<Finding>& findings) {
  const auto& source = gpu_at(survey, index).power.source;
  if (!source || *source == "AC") return;
  const bool undersized = *source == "undersized";
  findings.push_back({"power-source",
                      undersized ? Severity::kError : Severity::kWarning,
                      survey.gpu_label(index),
                      undersized ? "The card reports a power source too weak for it"
                                 : "The card runs on a battery",
                      {"power source: " + *source},
                      undersized ? "Connect every power socket of the card with a cable of its "
                                   "own, at a supply (or adapter) that gives its full power."
                                 : "Connect mains power: on a battery the card is slowed down.",
                      "certain"});
}

// power-limit-low, power-source: what the driver says of running cards.
void find_limits(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    const bool brake = std::find(gpu.slowdowns.begin(), gpu.slowdowns.end(),
                                 "hw_power_brake_slowdown") != gpu.slowdowns.end();
    if (brake)
      findings.push_back({"power-source",
                          Severity::kError,
                          survey.gpu_label(i),
                          "The power supply tells this card to slow down",
                          {"clocks event reason: HW power brake slowdown"},
                          "The supply or its cables are too weak: one cable of its own for every "
                          "socket of the card, no splitters, and see --build for the sum.",
                          "certain"});
    find_source(survey, i, findings);
    if (survey.is_planned || !gpu.power.limit_w || !gpu.power.default_w ||
        *gpu.power.limit_w >= *gpu.power.default_w * 0.7)
      continue;
    const double loss = (1 - speed_at_limit(*gpu.power.limit_w, *gpu.power.default_w)) * 100;
    findings.push_back({"power-limit-low",
                        Severity::kInfo,
                        survey.gpu_label(i),
                        "A power limit of " + watts(*gpu.power.limit_w) +
                            " is set, the card's own is " + watts(*gpu.power.default_w),
                        {"prompts about " + number_text(std::round(loss)) + " % slower than at " +
                         watts(*gpu.power.default_w)},
                        "Fine if it is meant. nvidia-smi -pl sets it.",
                        "certain"});
  }
}

}  // namespace

void find_power(const Survey& survey, std::vector<Finding>& findings) {
  find_limits(survey, findings);
  const auto budget = power_budget(survey);
  if (!budget || !survey.build) return;
  if (budget->supply_w > 0) {
    find_sustained(*budget, findings);
    find_excursions(*budget, findings);
  }
  find_circuit(*budget, survey.build->circuit, findings);
}

}  // namespace tandem
