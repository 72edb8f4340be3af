#pragma once

#include <cstdint>
#include <vector>

namespace tandem {

// One way to run a replica.
struct PackingOption {
  std::vector<std::int64_t> bytes;  // by memory pool
  std::vector<std::size_t> units;   // that it computes on: GPUs, CPU cores
  double rate = 1;                  // tokens a second where it has them to itself; above 0
};

// One replica of a model.
struct PackingItem {
  std::size_t model = 0;
  bool is_resident = true;  // in memory beside all other residents; else comes when asked for
  bool is_pinned = false;   // a resident that never makes room for others
  std::vector<PackingOption> options;
};

struct PackingProblem {
  std::vector<std::int64_t> capacities;  // by pool
  std::size_t num_units = 0;
  std::vector<PackingItem> items;  // replicas of one model stand together
};

struct Packing {
  std::vector<int> choice;  // by item: its option; -1: no room
  double value = 0;         // of the objective
  bool is_optimal = false;  // every other packing was ruled out
};

// How busy a model is taken to be that comes when asked for; residents count 1.
inline constexpr double kOnDemandActivity = 0.5;

// What a choice is worth; minus infinity where memory does not suffice:
//   sum over models of activity x ln(sum over replicas of rate / crowd)
// where a replica's crowd is 1 + the activity of other replicas on its most crowded unit. (The
// logarithm weighs a doubling alike for small and large models.) Less
//   ln 2 x activity for an on-demand model that does not fit beside all residents,
//   1000 for each replica without room, 2000 for a resident,
//   1e-6 x the fullest pool's share, which decides between equals.
// Residents must fit together; each on-demand model beside those that are pinned.
double packing_value(const PackingProblem& problem, const std::vector<int>& choice);

// The best packing: by branch and bound, exact unless that takes more than kMostPackingNodes steps,
// then the best found. The same problem gives the same packing.
inline constexpr std::int64_t kMostPackingNodes = 200'000;
Packing pack(const PackingProblem& problem);

}  // namespace tandem
