#include "plan/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>

#include "base/units.h"
#include "plan/candidates.h"
#include "plan/device_work.h"
#include "plan/layout.h"

namespace tandem {
namespace {

// Candidates whose layers are moved one by one; the others keep their first distribution.
constexpr std::size_t kRefined = 24;
constexpr int kMaxMoves = 64;

struct Candidate {
  Sketch sketch;
  double value = 0;  // of the objective; smaller is better
  bool fits = false;
  std::size_t order = 0;  // of enumeration: decides between equals
};

bool better(const Candidate& a, const Candidate& b) {
  if (a.fits != b.fits) return a.fits;
  if (a.value != b.value) return a.value < b.value;
  return a.order < b.order;
}

// The value but for its last digits: what sums in another order differ by is no reason to prefer.
double ten_digits(double value) {
  constexpr int kBits = 33;
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  return std::ldexp(std::round(std::ldexp(mantissa, kBits)), exponent - kBits);
}

SplitMode mode_of(const Sketch& sketch) {
  const bool grouped = std::any_of(sketch.begin(), sketch.end(), [](const StageSketch& stage) {
    return stage.devices.size() > 1;
  });
  if (sketch.size() == 1) return grouped ? SplitMode::kTensor : SplitMode::kNone;
  return grouped ? SplitMode::kHybrid : SplitMode::kLayer;
}

class Search {
 public:
  Search(const ModelSpec& spec, const Machine& machine, const Bench& bench,
         const SearchRequest& request)
      : spec_(spec),
        machine_(machine),
        bench_(bench),
        request_(request),
        workload_(request.workload),
        costs_(spec, request.plan.kv_type) {
    layout_ = layout_sizes(spec, request.plan);
    tune_micro_batches(machine.devices, layout_);
    if (bench.engine->name == "tandem") {
      workload_.stage_micro_batch_tokens = layout_.micro_batch_tokens;
    }
    memory_.kv_tokens = static_cast<double>(layout_.context_tokens) * layout_.max_sequences;
    memory_.fixed_bytes = static_cast<double>(
        compute_bytes_of(spec, whole_model(spec), layout_.max_batch_tokens, layout_.max_sequences));
    for (std::size_t i = 0; i < machine.devices.size(); ++i) {
      const std::int64_t usable = usable_bytes(machine.devices[i]);
      memory_.capacity.push_back(usable == 0 ? 1e18 : static_cast<double>(usable));
      speeds_.push_back(1 / decode_work_s(costs_, costs_.whole(), bench.devices[i],
                                          request.workload.mean_context(), 1, true));
    }
  }

  Result<SearchResult> run() {
    const bool has_gpu = std::any_of(bench_.devices.begin(), bench_.devices.end(),
                                     [](const DeviceRates& rates) { return !rates.is_cpu; });
    std::vector<std::size_t> devices;
    std::size_t host = bench_.devices.size();
    for (std::size_t i = 0; i < bench_.devices.size(); ++i) {
      if (has_gpu && bench_.devices[i].is_cpu && !request_.use_all_devices) {
        host = i;
      } else {
        devices.push_back(i);
      }
    }
    auto groupings = groupings_of(bench_, speeds_, memory_.capacity, devices, request_);
    for (const Grouping& grouping : groupings) consider(grouping);
    const bool held = std::any_of(candidates_.begin(), candidates_.end(),
                                  [](const Candidate& candidate) { return candidate.fits; });
    if (!held && host < bench_.devices.size() && request_.allow_offload) {
      for (Grouping& grouping : groupings) {
        // First, so that the output matrix, which every token passes, stays on GPUs.
        grouping.insert(grouping.begin(), {host});
        consider(grouping);
      }
      const PlanRequest& asked = request_.plan;
      if (!asked.split && !asked.group_size && !asked.num_stages) consider({{host}});
    }
    if (candidates_.empty()) {
      return invalid_argument("no division of the model obeys --split, --tp and --pp at once");
    }
    refine();
    return finish();
  }

  static LayoutRequest layout_sizes(const ModelSpec& spec, const PlanRequest& request) {
    LayoutRequest layout;
    const std::int64_t trained = spec.context_tokens > 0 ? spec.context_tokens : 4096;
    layout.context_tokens = !request.context_tokens ? std::min(trained, kDefaultContextTokens)
                            : *request.context_tokens == 0 ? trained
                                                           : *request.context_tokens;
    layout.max_sequences = request.max_sequences;
    layout.max_batch_tokens = request.max_batch_tokens;
    layout.max_output_rows = request.max_output_rows;
    layout.kv_type = request.kv_type;
    layout.split_by_expert = request.split_by_expert;
    return layout;
  }

 private:
  double value_of(const Sketch& sketch) const { return ten_digits(objective_of(sketch)); }

  double objective_of(const Sketch& sketch) const {
    const TimeEstimate estimate = estimate_time(costs_, sketch, bench_, workload_);
    const double generated = static_cast<double>(request_.workload.generated_tokens);
    const double sequences = request_.workload.concurrency;
    std::size_t ranks = 0;
    for (const StageSketch& stage : sketch) ranks += stage.devices.size();
    const double charge = division_charge(ranks, mode_of(sketch) == SplitMode::kHybrid);
    const double latency = charge * (estimate.prefill_s + generated * estimate.decode_step_s);
    switch (request_.objective) {
      case Objective::kLatency:
        return latency;
      case Objective::kThroughput:
        return charge * (sequences * estimate.prefill_s + generated * estimate.decode_step_s) /
               (sequences * std::max(1.0, generated));
      case Objective::kContext:
        return -room_for_context(sketch) * 1e3 + latency * 1e-3;
      case Objective::kCost: {
        double watts = 0;
        for (const StageSketch& stage : sketch) {
          for (const std::size_t device : stage.devices) watts += bench_.devices[device].power_w;
        }
        // Stages draw in turns.
        return watts / static_cast<double>(sketch.size()) * latency;
      }
    }
    return latency;
  }

  // Positions that fit beside the weights, by the tightest device.
  double room_for_context(const Sketch& sketch) const {
    double room = 1e15;
    for (const StageSketch& stage : sketch) {
      const RangeCosts costs =
          costs_.range(stage.first_layer, stage.num_layers, &stage == &sketch.back());
      const double kv = costs.kv_bytes_full + costs.kv_bytes_windowed;
      for (std::size_t i = 0; i < stage.devices.size(); ++i) {
        const double left = memory_.capacity[stage.devices[i]] - memory_.fixed_bytes -
                            stage.shares[i] * (costs.bytes + costs.expert_bytes);
        if (stage.shares[i] * kv > 0) room = std::min(room, left / (stage.shares[i] * kv));
      }
    }
    return room;
  }

  ExpertSplit expert_split() const {
    if (request_.plan.split_by_expert) return ExpertSplit::kByExpert;
    return bench_.engine->splits_by_expert ? ExpertSplit::kEither : ExpertSplit::kByWidth;
  }

  void consider(const Grouping& grouping) {
    for (Sketch& sketch : sketches_of(costs_, bench_, speeds_, memory_, grouping, expert_split())) {
      Candidate candidate;
      candidate.fits = fits_roughly(costs_, memory_, sketch);
      candidate.value = value_of(sketch);
      candidate.order = candidates_.size();
      candidate.sketch = std::move(sketch);
      candidates_.push_back(std::move(candidate));
    }
  }

  void refine() {
    std::stable_sort(candidates_.begin(), candidates_.end(), better);
    for (std::size_t i = 0; i < std::min(kRefined, candidates_.size()); ++i) {
      descend(candidates_[i]);
    }
    std::stable_sort(candidates_.begin(), candidates_.end(), better);
  }

  // Moves single layers between stages while the objective falls (or a misfit is cured).
  void descend(Candidate& candidate) const {
    const std::size_t stages = candidate.sketch.size();
    for (int move = 0; move < kMaxMoves && stages > 1; ++move) {
      Candidate best = candidate;
      for (std::size_t from = 0; from < stages; ++from) {
        for (std::size_t to = 0; to < stages; ++to) {
          if (from == to || candidate.sketch[from].num_layers < 2) continue;
          Candidate trial = candidate;
          --trial.sketch[from].num_layers;
          ++trial.sketch[to].num_layers;
          renumber(trial.sketch);
          trial.fits = fits_roughly(costs_, memory_, trial.sketch);
          trial.value = value_of(trial.sketch);
          if (better(trial, best)) best = std::move(trial);
        }
      }
      if (!better(best, candidate)) return;
      candidate = std::move(best);
    }
  }

  static void renumber(Sketch& sketch) {
    std::int32_t first = 0;
    for (StageSketch& stage : sketch) {
      stage.first_layer = first;
      first += stage.num_layers;
    }
  }

  Result<Plan> plan_of(const Sketch& sketch) const {
    LayoutRequest layout = layout_;
    layout.split_by_expert = layout.split_by_expert || sketch.front().by_expert;
    for (const StageSketch& stage : sketch) {
      layout.stages.emplace_back();
      layout.layers_per_stage.push_back(stage.num_layers);
      for (std::size_t i = 0; i < stage.devices.size(); ++i) {
        const MachineDevice& device = machine_.devices[stage.devices[i]];
        layout.stages.back().push_back(
            {device.id, std::max(1e-9, stage.shares[i]), usable_bytes(device)});
      }
    }
    TANDEM_TRY(Plan plan, lay_out(spec_, layout));
    TANDEM_TRY_STATUS(predict(plan, costs_, bench_, request_.workload));
    annotate(plan, sketch);
    return plan;
  }

  void annotate(Plan& plan, const Sketch& sketch) const {
    std::size_t gpus = 0;
    for (const DeviceRates& rates : bench_.devices) gpus += rates.is_cpu ? 0 : 1;
    std::size_t used = 0;
    bool offload = false;
    for (const StageSketch& stage : sketch) {
      for (const std::size_t device : stage.devices) used += bench_.devices[device].is_cpu ? 0 : 1;
      const bool on_host = gpus > 0 && bench_.devices[stage.devices.front()].is_cpu;
      if (!on_host) continue;
      plan.notes.push_back(fmt::format("{} of {} layers on {} ({})", stage.num_layers,
                                       spec_.num_layers, bench_.ids[stage.devices.front()],
                                       machine_.devices[stage.devices.front()].name));
      offload = true;
    }
    if (offload) plan.name = used == 0 ? "processor alone" : plan.name + " with offload";
    if (used > 0 && used < gpus) plan.name += fmt::format(" on {} of {} GPUs", used, gpus);
    for (const StageSketch& stage : sketch) {
      if (stage.devices.size() < 2) continue;
      const auto [low, high] = std::minmax_element(stage.shares.begin(), stage.shares.end());
      if (*high > 1.05 * *low) {
        plan.notes.push_back("uneven shares follow the devices' speed and memory");
        return;
      }
    }
  }

  // The best of each split mode, each number of devices, then whatever follows, as exact plans.
  Result<SearchResult> finish() const {
    SearchResult result;
    result.num_candidates = candidates_.size();
    std::map<std::tuple<int, std::size_t, bool>, int> taken;
    std::vector<double> values;
    for (const Candidate& candidate : candidates_) {
      if (result.plans.size() >= request_.max_plans) break;
      std::size_t ranks = 0;
      for (const StageSketch& stage : candidate.sketch) ranks += stage.devices.size();
      int& count = taken[{static_cast<int>(mode_of(candidate.sketch)), ranks,
                          candidate.sketch.front().by_expert}];
      if (++count > 2) continue;
      TANDEM_TRY(Plan plan, plan_of(candidate.sketch));
      // A second division of one kind is there in case rounding keeps the first from fitting.
      if (count == 2 && (!plan.fits || taken_fits(result, plan))) continue;
      // What whole heads, blocks and experts come to may be slower than the sketch.
      TANDEM_TRY(const Sketch exact, sketch_of(plan, bench_, costs_));
      values.push_back(value_of(exact));
      result.plans.push_back(std::move(plan));
    }
    std::vector<std::size_t> order(result.plans.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      if (result.plans[a].fits != result.plans[b].fits) return result.plans[a].fits;
      return values[a] < values[b];
    });
    std::vector<Plan> sorted;
    for (const std::size_t i : order) sorted.push_back(std::move(result.plans[i]));
    result.plans = std::move(sorted);
    return result;
  }

  static bool taken_fits(const SearchResult& result, const Plan& plan) {
    return std::any_of(result.plans.begin(), result.plans.end(), [&](const Plan& other) {
      return other.split == plan.split && other.num_ranks() == plan.num_ranks() &&
             other.split_by_expert == plan.split_by_expert && other.fits;
    });
  }

  const ModelSpec& spec_;
  const Machine& machine_;
  const Bench& bench_;
  const SearchRequest& request_;
  Workload workload_;  // the request's, with the stages' micro-batches
  ModelCosts costs_;
  LayoutRequest layout_;
  MemoryModel memory_;
  std::vector<double> speeds_;
  std::vector<Candidate> candidates_;
};

}  // namespace

std::optional<Objective> objective_named(std::string_view name) {
  if (name == "latency") return Objective::kLatency;
  if (name == "throughput") return Objective::kThroughput;
  if (name == "context") return Objective::kContext;
  if (name == "cost") return Objective::kCost;
  return std::nullopt;
}

double division_charge(std::size_t num_ranks, bool hybrid) {
  return std::pow(1.01, static_cast<double>(num_ranks) - (hybrid ? 0.0 : 1.0));
}

Result<SearchResult> search_plans(const ModelSpec& spec, const Machine& machine,
                                  const EngineProfile& engine, const SearchRequest& request) {
  if (machine.devices.empty()) return invalid_argument("the machine has no devices");
  if (!bytes_of(request.plan.kv_type, spec.attention.head_dim)) {
    return invalid_argument("KV cache type does not divide the model's heads");
  }
  TANDEM_TRY(const Bench bench, bench_of(machine, engine));
  return Search(spec, machine, bench, request).run();
}

std::int64_t longest_context(const ModelSpec& spec, const Plan& plan,
                             const std::vector<std::int64_t>& capacities) {
  std::int64_t longest = std::int64_t{1} << 30;
  std::size_t next = 0;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      const std::int64_t capacity = capacities[next++];
      const std::int64_t per_token =
          kv_bytes_per_token(spec, rank.shard, plan.kv.type) * plan.max_sequences;
      if (capacity == 0 || per_token == 0) continue;
      const std::int64_t left = capacity - rank.weights_bytes - rank.compute_bytes;
      longest = std::min(longest, std::max<std::int64_t>(0, left) / per_token);
    }
  }
  return longest / 256 * 256;
}

}  // namespace tandem
