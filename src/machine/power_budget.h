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

struct PowerBudget {
  std::vector<double> cards_w;  // the limits in force
  double cpu_w = 0;
  double rest_w = 0;
  double supply_w = 0;  // all supplies together; 0 is unknown

  double cards_total_w() const;
  double sustained_w() const { return cards_total_w() + cpu_w + rest_w; }
  // The peak of all cards at once: ranks of one group work in step.
  double peak_w(double card_factor) const { return cards_total_w() * card_factor + cpu_w + rest_w; }
};

// nullopt where the power of some card is unknown or there is none.
std::optional<PowerBudget> power_budget(const Survey& survey);

// The limit per card at which the whole stays within 80 % of the supply; nullopt where even half
// of the cards' present limits would not do.
std::optional<double> suggested_limit_w(const PowerBudget& budget);

// The part of its speed that a compute-bound card keeps under a lower limit. Dynamic power goes
// with frequency times voltage squared and voltage about with frequency, so frequency goes with
// the third root of power. Decoding is bound by memory and loses less.
double speed_at_limit(double limit_w, double full_w);

}  // namespace tandem
