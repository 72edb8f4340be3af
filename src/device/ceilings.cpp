#include "device/ceilings.h"

#include <algorithm>
#include <array>
#include <functional>

#include "base/median.h"

namespace tandem {
namespace {

constexpr std::array kRates = {&Ceilings::read_gbps, &Ceilings::int8_gops, &Ceilings::float_gflops,
                               &Ceilings::bf16_gflops};

// Of the best `count` rounds in each kind.
double spread_of(const std::vector<Ceilings>& rounds, int count) {
  double spread = 0;
  for (double Ceilings::*rate : kRates) {
    std::vector<double> rates;
    for (const Ceilings& round : rounds) rates.push_back(round.*rate);
    std::sort(rates.begin(), rates.end(), std::greater<>());
    const double worst = rates[static_cast<std::size_t>(count) - 1];
    if (rates.front() > 0) spread = std::max(spread, 1 - worst / rates.front());
  }
  return spread;
}

}  // namespace

void Ceilings::raise(const Ceilings& other) {
  if (other.read_gbps > read_gbps) read_pattern = other.read_pattern;
  for (double Ceilings::*rate : kRates) this->*rate = std::max(this->*rate, other.*rate);
}

void Ceilings::add(const Ceilings& other) {
  read_pattern += (read_pattern.empty() ? "" : "; ") + other.read_pattern;
  for (double Ceilings::*rate : kRates) this->*rate += other.*rate;
  spread = std::max(spread, other.spread);
}

Result<Ceilings> best_of_rounds(const CeilingOptions& options,
                                const std::function<Result<Ceilings>()>& measure) {
  std::vector<Ceilings> rounds;
  const int most = std::max(options.rounds, options.most_rounds);
  for (int i = 0; i < most; ++i) {
    if (i >= options.rounds && spread_of(rounds, options.rounds) <= kCeilingScatter) break;
    TANDEM_TRY(Ceilings round, measure());
    rounds.push_back(std::move(round));
  }
  Ceilings best;
  for (const Ceilings& round : rounds) best.raise(round);
  best.spread = spread_of(rounds, options.rounds);
  return best;
}

double typical_read_gbps(std::span<const std::vector<double>> looks) {
  std::size_t num_patterns = 0;
  for (const std::vector<double>& look : looks) num_patterns = std::max(num_patterns, look.size());
  double most = 0;
  for (std::size_t pattern = 0; pattern < num_patterns; ++pattern) {
    std::vector<double> gbps;
    for (const std::vector<double>& look : looks) {
      if (pattern < look.size()) gbps.push_back(look[pattern]);
    }
    if (!gbps.empty()) most = std::max(most, median(std::move(gbps)));
  }
  return most;
}

}  // namespace tandem
