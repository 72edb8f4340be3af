#pragma once

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "machine/survey.h"

namespace tandem {

// The error counters of every PCIe function and card at one moment: both ends of a link have their
// own. Counters since boot say nothing by themselves; two readings do.
struct ErrorCounters {
  std::map<std::pair<PciAddress, std::string>, std::int64_t> counts;  // by device and counter
  std::chrono::steady_clock::time_point when;

  bool any() const;  // is some counter not zero
};

// "correctable", "nonfatal" and "fatal" (AER) and "replays" (the driver's) in `survey`, read now.
ErrorCounters error_counters_of(const Survey& survey);

// What grew or stayed between the readings, into survey.rates. Devices that `survey` knows are
// named.
void add_error_rates(const ErrorCounters& before, const ErrorCounters& after, Survey& survey);

}  // namespace tandem
