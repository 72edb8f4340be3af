#include "fleet/packing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tandem {
namespace {

constexpr int kNoRoom = -1;
constexpr int kOpen = -2;  // not yet decided
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kResidentWithoutRoom = 2000;
constexpr double kOnDemandWithoutRoom = 1000;
constexpr double kFillWeight = 1e-6;
// Improvements below this are rounding.
constexpr double kLeastGain = 1e-9;

using Bytes = std::vector<std::int64_t>;

double activity_of(const PackingItem& item) {
  return item.is_resident ? 1.0 : kOnDemandActivity;
}

// The value of a choice, or, with open items, a bound that no completion exceeds: open replicas are
// taken to run at their best rate and to disturb nobody.
class Valuation {
 public:
  Valuation(const PackingProblem& problem, const std::vector<int>& choice)
      : problem_(problem), choice_(choice) {}

  double value() {
    sum_bytes();
    if (!fits(resident_)) return -kInfinity;
    sum_crowds();
    double value = -kFillWeight * fullest();
    for (std::size_t begin = 0; begin < problem_.items.size();) {
      std::size_t end = begin;
      while (end < problem_.items.size() && problem_.items[end].model == model_of(begin)) ++end;
      value += value_of_model(begin, end);
      begin = end;
    }
    return value;
  }

 private:
  std::size_t model_of(std::size_t item) const { return problem_.items[item].model; }
  const PackingOption* chosen(std::size_t item) const {
    const int choice = choice_[item];
    return choice < 0 ? nullptr : &problem_.items[item].options[static_cast<std::size_t>(choice)];
  }

  void sum_bytes() {
    resident_.assign(problem_.capacities.size(), 0);
    pinned_ = resident_;
    for (std::size_t i = 0; i < choice_.size(); ++i) {
      const PackingOption* option = chosen(i);
      if (option == nullptr || !problem_.items[i].is_resident) continue;
      add(resident_, *option);
      if (problem_.items[i].is_pinned) add(pinned_, *option);
    }
  }

  static void add(Bytes& sum, const PackingOption& option) {
    for (std::size_t pool = 0; pool < sum.size(); ++pool) sum[pool] += option.bytes[pool];
  }

  bool fits(const Bytes& bytes) const {
    for (std::size_t pool = 0; pool < bytes.size(); ++pool) {
      if (bytes[pool] > problem_.capacities[pool]) return false;
    }
    return true;
  }

  void sum_crowds() {
    crowd_.assign(problem_.num_units, 0);
    for (std::size_t i = 0; i < choice_.size(); ++i) {
      if (const PackingOption* option = chosen(i)) {
        for (const std::size_t unit : option->units) crowd_[unit] += activity_of(problem_.items[i]);
      }
    }
  }

  double fullest() const {
    double share = 0;
    for (std::size_t pool = 0; pool < resident_.size(); ++pool) {
      if (problem_.capacities[pool] <= 0) continue;
      share = std::max(share, static_cast<double>(resident_[pool]) /
                                  static_cast<double>(problem_.capacities[pool]));
    }
    return share;
  }

  double value_of_model(std::size_t begin, std::size_t end) const {
    const PackingItem& first = problem_.items[begin];
    const double activity = activity_of(first);
    double rate = 0;
    double value = 0;
    Bytes beside_pinned = pinned_;
    Bytes beside_all = resident_;
    for (std::size_t i = begin; i < end; ++i) {
      if (choice_[i] == kNoRoom) {
        value -= first.is_resident ? kResidentWithoutRoom : kOnDemandWithoutRoom;
      } else if (choice_[i] == kOpen) {
        rate += best_rate(problem_.items[i]);
      } else {
        const PackingOption& option = *chosen(i);
        double crowd = 1;
        for (const std::size_t unit : option.units) {
          crowd = std::max(crowd, 1 + crowd_[unit] - activity);
        }
        rate += option.rate / crowd;
        add(beside_pinned, option);
        add(beside_all, option);
      }
    }
    if (!first.is_resident && !fits(beside_pinned)) return -kInfinity;
    if (!first.is_resident && !fits(beside_all)) value -= activity * std::log(2.0);
    return rate > 0 ? value + activity * std::log(rate) : value;
  }

  static double best_rate(const PackingItem& item) {
    double rate = 0;
    for (const PackingOption& option : item.options) rate = std::max(rate, option.rate);
    return rate;
  }

  const PackingProblem& problem_;
  const std::vector<int>& choice_;
  Bytes resident_;
  Bytes pinned_;
  std::vector<double> crowd_;
};

class Search {
 public:
  explicit Search(const PackingProblem& problem) : problem_(problem) {}

  Packing run() {
    // Something to beat: nothing placed, then every single change that helps.
    best_.choice.assign(problem_.items.size(), kNoRoom);
    best_.value = packing_value(problem_, best_.choice);
    climb();
    std::vector<int> choice(problem_.items.size(), kOpen);
    descend(choice, 0);
    best_.is_optimal = nodes_ <= kMostPackingNodes;
    return std::move(best_);
  }

 private:
  void climb() {
    for (bool improved = true; improved;) {
      improved = false;
      for (std::size_t item = 0; item < problem_.items.size(); ++item) {
        for (int option = 0; option < num_options(item); ++option) {
          auto trial = best_.choice;
          trial[item] = option;
          improved = take(trial) || improved;
        }
      }
    }
  }

  bool take(const std::vector<int>& choice) {
    const double value = packing_value(problem_, choice);
    if (!(value > best_.value + kLeastGain)) return false;
    best_.choice = choice;
    best_.value = value;
    return true;
  }

  void descend(std::vector<int>& choice, std::size_t item) {
    if (++nodes_ > kMostPackingNodes) return;
    if (item == problem_.items.size()) {
      take(choice);
      return;
    }
    // Replicas are alike: one order of their options stands for all.
    const bool is_twin =
        item > 0 && problem_.items[item - 1].model == problem_.items[item].model &&
        problem_.items[item].options.size() == problem_.items[item - 1].options.size() &&
        are_alike(item - 1, item);
    const int first =
        is_twin ? (choice[item - 1] == kNoRoom ? num_options(item) : choice[item - 1]) : 0;
    for (int option = first; option <= num_options(item); ++option) {
      choice[item] = option == num_options(item) ? kNoRoom : option;
      const double bound = packing_value(problem_, choice);
      if (bound > best_.value + kLeastGain) descend(choice, item + 1);
    }
    choice[item] = kOpen;
  }

  bool are_alike(std::size_t a, std::size_t b) const {
    const auto& left = problem_.items[a].options;
    const auto& right = problem_.items[b].options;
    return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                      [](const PackingOption& x, const PackingOption& y) {
                        return x.rate == y.rate && x.bytes == y.bytes && x.units == y.units;
                      });
  }

  int num_options(std::size_t item) const {
    return static_cast<int>(problem_.items[item].options.size());
  }

  const PackingProblem& problem_;
  Packing best_;
  std::int64_t nodes_ = 0;
};

}  // namespace

double packing_value(const PackingProblem& problem, const std::vector<int>& choice) {
  return Valuation(problem, choice).value();
}

Packing pack(const PackingProblem& problem) {
  return Search(problem).run();
}

}  // namespace tandem
