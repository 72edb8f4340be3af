#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "machine/survey.h"

namespace tandem {

// How a card's or supply's power may exceed its rating, by the length of the excursion.
struct ExcursionWindow {
  double seconds = 0;
  double factor = 1;
};

// What a supply must bear, as multiples of its rating. ATX 3.0 and 3.1 (Intel, ATX Version 3 Multi
// Rail Desktop Platform Power Supply Design Guide, 2.0, table for supplies above 450 W). Older
// guides ask for none; protections of such supplies commonly trip at 130 % and less.
std::array<ExcursionWindow, 4> supply_windows(const std::string& standard);

// What a graphics card draws at most, as multiples of its power limit. The card's limiter acts in
// tens of milliseconds; shorter peaks of 1.6 times the limit within 1 ms are what power analysers
// measured on 350 W cards, and PCIe CEM 5.1 allows up to 3 times for 100 us.
std::array<ExcursionWindow, 4> card_windows();

inline constexpr double kSustainedShare = 0.8;    // of a supply, for hours
inline constexpr double kContinuousShare = 0.8;   // of a circuit, for hours (NEC 210.20)
inline constexpr double kSupplyEfficiency = 0.9;  // of a good supply at half load (80 PLUS Gold)

struct PowerBudget {
  std::vector<double> cards_w;  // the limits in force
  double least_w = 0;           // the highest of the cards' lowest limits; 0 is unknown
  double cpu_w = 0;
  double rest_w = 0;
  double supply_w = 0;   // all supplies together; 0 is unknown
  std::string standard;  // of the supply: "ATX 3.1"; empty is unknown
  double circuit_w = 0;  // volts times amperes; 0 is unknown

  double cards_total_w() const;
  double sustained_w() const { return cards_total_w() + cpu_w + rest_w; }
  // The peak of all cards at once: ranks of one group work in step.
  double peak_w(double card_factor) const { return cards_total_w() * card_factor + cpu_w + rest_w; }
  double wall_w() const { return sustained_w() / kSupplyEfficiency; }
};

// nullopt where the power of some card is unknown or there is none.
std::optional<PowerBudget> power_budget(const Survey& survey);

// What all cards together may draw so that supply (for hours and in every window) and circuit bear
// the whole; the present limits' sum where neither is known. May be negative.
double cards_allowance_w(const PowerBudget& budget);

// One limit for every card, in steps of 10 W, with which the cards stay within cards_allowance_w();
// cards whose limit is lower already keep theirs. nullopt where a card would have to run below half
// of its present limit, or below the lowest that it takes.
std::optional<double> suggested_limit_w(const PowerBudget& budget);

// The rating, in steps of 50 W, of which the machine as it is would use 80 % for hours. A supply to
// ATX 3 of that rating bears every peak of card_windows() too.
double needed_supply_w(const PowerBudget& budget);

// The part of its speed that a compute-bound card keeps under a lower limit. Dynamic power goes
// with frequency times voltage squared and voltage about with frequency, so frequency goes with
// the third root of power. Decoding is bound by memory and loses less.
double speed_at_limit(double limit_w, double full_w);

}  // namespace tandem
