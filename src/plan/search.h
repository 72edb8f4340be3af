#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "plan/auto_plan.h"
#include "plan/time_model.h"

namespace tandem {

enum class Objective : std::uint8_t {
  kLatency,     // seconds of one request: prompt, then generation
  kThroughput,  // seconds a token with all sequences at work
  kContext,     // the longest context that fits
  kCost,        // energy a token
};
std::optional<Objective> objective_named(std::string_view name);

struct SearchRequest {
  PlanRequest plan;  // explicit requests narrow the space
  Objective objective = Objective::kLatency;
  Workload workload;
  bool use_all_devices = false;  // only divisions over every device
  bool allow_offload = false;    // layers on the host's processor where GPUs alone do not hold all
  bool layer_only = false;       // no tensor groups
  std::size_t max_plans = 8;
};

struct SearchResult {
  // The best of every kind of split, then further ones; those that fit first, best first.
  std::vector<Plan> plans;
  std::size_t num_candidates = 0;
};

// What the objective is multiplied with, so that a device more must bring one per cent at least,
// and stages of groups one beyond that: a plan that gains less is not worth its links and power.
double division_charge(std::size_t num_ranks, bool hybrid);

// Searches the divisions of the model over the machine:
//   subsets of its devices: all for up to 4, else the k fastest and the k largest for every k;
//   consecutive groups as stages: all for up to 5 devices, else groups of g, for every g;
//   shares in a group: equal, by speed, limited by memory; of experts, a part of each or whole
//   ones; layers of the stages: by speed or filling the fastest first, then moved one by one while
//   the objective falls.
// Equal machines, requests and models give equal results. kInvalidArgument for requests that
// contradict themselves. Plans that do not fit say why; none fitting is not an error here.
Result<SearchResult> search_plans(const ModelSpec& spec, const Machine& machine,
                                  const EngineProfile& engine, const SearchRequest& request);

// The longest context of one sequence (a multiple of 256) with which `plan` would fit, 0 if none.
std::int64_t longest_context(const ModelSpec& spec, const Plan& plan,
                             const std::vector<std::int64_t>& capacities);

}  // namespace tandem
