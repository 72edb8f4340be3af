#include "fleet/packing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace tandem {
namespace {

using ::testing::ElementsAre;

PackingOption on(std::size_t unit, std::vector<std::int64_t> bytes, double rate = 10) {
  return {std::move(bytes), {unit}, rate};
}

TEST(Packing, TwoModelsGetADeviceEach) {
  PackingProblem problem{{10, 10}, 2, {}};
  for (std::size_t model = 0; model < 2; ++model) {
    problem.items.push_back({model, true, false, {on(0, {4, 0}), on(1, {0, 4})}});
  }
  const Packing packing = pack(problem);
  EXPECT_NE(packing.choice[0], packing.choice[1]);
  EXPECT_TRUE(packing.is_optimal);
  EXPECT_NEAR(packing.value, 2 * std::log(10.0), 1e-5);
}

TEST(Packing, MemoryDecidesWhereSpeedWouldNot) {
  PackingProblem problem{{10, 5}, 2, {}};
  problem.items.push_back({0, true, false, {on(0, {8, 0}, 20), on(1, {0, 8}, 20)}});
  problem.items.push_back({1, true, false, {on(0, {4, 0}, 20), on(1, {0, 4}, 10)}});
  EXPECT_THAT(pack(problem).choice, ElementsAre(0, 1));
}

TEST(Packing, ModelsShareADeviceWhereTheyMust) {
  PackingProblem problem{{10}, 1, {}};
  for (std::size_t model = 0; model < 2; ++model) {
    problem.items.push_back({model, true, false, {on(0, {4})}});
  }
  const Packing packing = pack(problem);
  EXPECT_THAT(packing.choice, ElementsAre(0, 0));
  EXPECT_NEAR(packing.value, 2 * std::log(5.0), 1e-5) << "each at half its rate";
}

TEST(Packing, ResidentsComeBeforeModelsOnDemand) {
  PackingProblem problem{{10}, 1, {}};
  problem.items.push_back({0, true, true, {on(0, {7})}});
  problem.items.push_back({1, false, false, {on(0, {7})}});
  EXPECT_THAT(pack(problem).choice, ElementsAre(0, -1)) << "beside what is pinned it never fits";
  problem.items[0].is_pinned = false;
  EXPECT_THAT(pack(problem).choice, ElementsAre(0, 0)) << "they take turns";
}

TEST(Packing, OnDemandModelsTakeFreeRoomRatherThanTurns) {
  PackingProblem problem{{10, 10}, 2, {}};
  problem.items.push_back({0, true, false, {on(0, {7, 0})}});
  problem.items.push_back({1, false, false, {on(0, {7, 0}, 11), on(1, {0, 7}, 10)}});
  EXPECT_THAT(pack(problem).choice, ElementsAre(0, 1));
}

PackingProblem random_problem(unsigned seed) {
  std::mt19937 random(seed);
  const auto uniform = [&](int low, int high) {
    return std::uniform_int_distribution<>(low, high)(random);
  };
  PackingProblem problem;
  const int num_pools = uniform(1, 3);
  for (int pool = 0; pool < num_pools; ++pool) problem.capacities.push_back(uniform(5, 20));
  problem.num_units = static_cast<std::size_t>(num_pools);
  const int num_models = uniform(1, 4);
  for (int model = 0; model < num_models; ++model) {
    PackingItem item;
    item.model = static_cast<std::size_t>(model);
    item.is_resident = uniform(0, 2) != 0;
    item.is_pinned = item.is_resident && uniform(0, 2) == 0;
    const int num_options = uniform(0, 4);
    for (int option = 0; option < num_options; ++option) {
      PackingOption made;
      made.rate = uniform(1, 30) / 2.0;
      for (int pool = 0; pool < num_pools; ++pool) {
        made.bytes.push_back(uniform(0, 1) == 0 ? 0 : uniform(1, 12));
        if (made.bytes.back() > 0) made.units.push_back(static_cast<std::size_t>(pool));
      }
      item.options.push_back(std::move(made));
    }
    const int replicas = uniform(1, 2);
    for (int i = 0; i < replicas; ++i) problem.items.push_back(item);
  }
  return problem;
}

// Memory rules in a second wording.
bool obeys_memory(const PackingProblem& problem, const std::vector<int>& choice) {
  for (std::size_t pool = 0; pool < problem.capacities.size(); ++pool) {
    std::int64_t residents = 0;
    std::int64_t pinned = 0;
    std::vector<std::int64_t> on_demand(problem.items.size(), 0);
    for (std::size_t i = 0; i < choice.size(); ++i) {
      if (choice[i] < 0) continue;
      const PackingItem& item = problem.items[i];
      const auto bytes = item.options[static_cast<std::size_t>(choice[i])].bytes[pool];
      if (item.is_resident) residents += bytes;
      if (item.is_pinned) pinned += bytes;
      if (!item.is_resident) on_demand[item.model] += bytes;
    }
    if (residents > problem.capacities[pool]) return false;
    for (const std::int64_t bytes : on_demand) {
      if (bytes + pinned > problem.capacities[pool]) return false;
    }
  }
  return true;
}

// The best of all choices, one by one.
double brute_force(const PackingProblem& problem) {
  std::vector<int> choice(problem.items.size(), -1);
  double best = -1e300;
  while (true) {
    const double value = packing_value(problem, choice);
    EXPECT_EQ(std::isfinite(value), obeys_memory(problem, choice));
    best = std::max(best, value);
    std::size_t item = 0;
    while (item < choice.size() &&
           ++choice[item] == static_cast<int>(problem.items[item].options.size())) {
      choice[item++] = -1;
    }
    if (item == choice.size()) return best;
  }
}

TEST(Packing, EqualsBruteForce) {
  int crowded = 0;
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const PackingProblem problem = random_problem(seed);
    const Packing packing = pack(problem);
    ASSERT_TRUE(packing.is_optimal);
    ASSERT_TRUE(obeys_memory(problem, packing.choice)) << "seed " << seed;
    ASSERT_NEAR(packing.value, brute_force(problem), 1e-6) << "seed " << seed;
    ASSERT_EQ(packing.choice, pack(problem).choice);
    for (const int choice : packing.choice) crowded += choice < 0 ? 1 : 0;
  }
  EXPECT_GT(crowded, 50) << "problems without need for choosing show nothing";
}

TEST(Packing, ManyItemsEndInTime) {
  PackingProblem problem{std::vector<std::int64_t>(8, 100), 8, {}};
  for (std::size_t model = 0; model < 14; ++model) {
    PackingItem item{model, model % 3 != 0, false, {}};
    for (std::size_t unit = 0; unit < 8; ++unit) {
      std::vector<std::int64_t> bytes(8, 0);
      bytes[unit] = 20 + static_cast<std::int64_t>(model * 7 % 31);
      item.options.push_back(on(unit, bytes, 5 + static_cast<double>((model + unit) % 5)));
    }
    problem.items.push_back(item);
  }
  const Packing packing = pack(problem);
  EXPECT_TRUE(obeys_memory(problem, packing.choice));
  for (const int choice : packing.choice) EXPECT_GE(choice, 0);
}

}  // namespace
}  // namespace tandem
