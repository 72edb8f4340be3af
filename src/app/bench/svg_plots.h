#pragma once

#include <string>
#include <vector>

#include "app/bench/bench_report.h"

namespace tandem {

// Speed-up over the number of devices, beside the diagonal of the ideal; one line a kind of split.
// Reads the prompts of the rows where `is_prompt`, else decoding; rows of one concurrency.
std::string speedup_svg(const std::vector<const BenchRow*>& rows, bool is_prompt);

// A bar a setup: what was used, then its losses by cause.
std::string losses_svg(const std::vector<const BenchRow*>& rows, bool is_prompt);

// Operations a second over operations a byte, logarithmic, under the ceilings of the largest set of
// devices: what bounds each phase and how near it came.
std::string roofline_svg(const BenchReport& report);

}  // namespace tandem
