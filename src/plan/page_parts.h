#pragma once

#include <map>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace tandem {

// Pieces of the pages that `plan`, `compare` and `bench` write: no script, no outside parts, for
// screens light and dark and for paper. Text from outside is escaped here.

std::string html_escaped(const std::string& text);

// From the doctype to the opened body, with the style that all pages share. `style`: rules (CSS)
// that one page has besides; "" for none.
std::string page_head(const std::string& title, const std::string& style = "");
std::string page_end();

// A bar for each device: weights, cache and compute buffers of what it may hold; what does not fit
// is marked beyond the bar's end. With the key to the colours. `names`: "RTX 3090" by "cuda:0".
std::string memory_bars(const Plan& plan, const std::map<std::string, std::string>& names = {});

// A bar of efficiency and losses, which sum to 1, and the table of causes.
std::string loss_stack(const ScalingReport& scaling);

struct ScatterPoint {
  double x = 0;
  double y = 0;
  double y_low = 0;
  double y_high = 0;
  std::string label;
  bool fits = true;
};

// Points with their range, both axes from zero on.
std::string scatter(const std::vector<ScatterPoint>& points, const std::string& x_title,
                    const std::string& y_title);

}  // namespace tandem
