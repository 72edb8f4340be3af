#include "plan/candidates.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "plan/layout.h"

namespace tandem {
namespace {

constexpr std::size_t kAllSubsetsUpTo = 4;
constexpr std::size_t kAllGroupingsUpTo = 5;

// Devices that are alike are interchangeable: the class of each.
std::vector<int> classes_of(const Bench& bench, const std::vector<double>& capacities) {
  std::map<std::vector<double>, int> known;
  std::vector<int> classes;
  for (std::size_t i = 0; i < bench.devices.size(); ++i) {
    const DeviceRates& rates = bench.devices[i];
    std::vector<double> key = {rates.bandwidth_bytes, rates.scalar_ops, rates.matrix_ops,
                               rates.power_w, capacities[i]};
    std::vector<double> wires;
    for (std::size_t j = 0; j < bench.devices.size(); ++j) {
      if (j == i) continue;
      wires.push_back(bench.wires[i][j].bandwidth_gbps + (bench.wires[i][j].peer ? 1e6 : 0) +
                      bench.wires[i][j].latency_us * 1e-3);
    }
    std::sort(wires.begin(), wires.end());
    key.insert(key.end(), wires.begin(), wires.end());
    classes.push_back(known.try_emplace(key, static_cast<int>(known.size())).first->second);
  }
  return classes;
}

std::vector<std::vector<std::size_t>> subsets_of(const std::vector<std::size_t>& by_speed,
                                                 const std::vector<std::size_t>& by_size,
                                                 bool all_devices) {
  std::vector<std::vector<std::size_t>> subsets;
  if (all_devices) return {by_speed};
  const std::size_t count = by_speed.size();
  if (count <= kAllSubsetsUpTo) {
    for (std::size_t mask = 1; mask < (std::size_t{1} << count); ++mask) {
      std::vector<std::size_t> subset;
      for (std::size_t i = 0; i < count; ++i) {
        if ((mask >> i & 1) != 0) subset.push_back(by_speed[i]);
      }
      subsets.push_back(std::move(subset));
    }
    return subsets;
  }
  for (const auto* order : {&by_speed, &by_size}) {
    for (std::size_t k = 1; k <= count; ++k) {
      std::vector<std::size_t> subset(order->begin(),
                                      order->begin() + static_cast<std::ptrdiff_t>(k));
      // Alike devices stand together, so that groups are even.
      std::sort(subset.begin(), subset.end(), [&](std::size_t a, std::size_t b) {
        return std::find(by_speed.begin(), by_speed.end(), a) <
               std::find(by_speed.begin(), by_speed.end(), b);
      });
      subsets.push_back(std::move(subset));
    }
  }
  return subsets;
}

std::vector<std::vector<std::size_t>> group_sizes_of(std::size_t count,
                                                     const SearchRequest& request) {
  std::vector<std::vector<std::size_t>> out;
  if (count <= kAllGroupingsUpTo && !request.plan.group_size) {
    for (std::size_t mask = 0; mask < (std::size_t{1} << (count - 1)); ++mask) {
      std::vector<std::size_t> sizes = {1};
      for (std::size_t i = 0; i + 1 < count; ++i) {
        if ((mask >> i & 1) != 0) {
          ++sizes.back();
        } else {
          sizes.push_back(1);
        }
      }
      out.push_back(std::move(sizes));
    }
    return out;
  }
  for (std::size_t size = 1; size <= count; ++size) {
    if (request.plan.group_size && static_cast<std::size_t>(*request.plan.group_size) != size) {
      continue;
    }
    std::vector<std::size_t> sizes(count / size, size);
    if (count % size != 0) {
      if (request.plan.group_size) continue;  // asked for: every group has that size
      sizes.push_back(count % size);
    }
    out.push_back(std::move(sizes));
  }
  return out;
}

bool allowed(const std::vector<std::size_t>& sizes, const SearchRequest& search,
             std::size_t num_devices) {
  const PlanRequest& request = search.plan;
  const bool grouped = *std::max_element(sizes.begin(), sizes.end()) > 1;
  const SplitMode mode = sizes.size() == 1 ? (grouped ? SplitMode::kTensor : SplitMode::kNone)
                                           : (grouped ? SplitMode::kHybrid : SplitMode::kLayer);
  if (search.layer_only && grouped) return false;
  // On a single device every split comes to the same.
  const bool alone = num_devices == 1 && request.split != SplitMode::kHybrid;
  if (request.split && *request.split != mode && !alone) return false;
  return !request.num_stages || static_cast<std::size_t>(*request.num_stages) == sizes.size();
}

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// `wanted` shares, none above its limit, the rest given to the others in proportion. Shares stay
// too large where all limits together do not suffice.
std::vector<double> limited(std::vector<double> wanted, const std::vector<double>& limits) {
  std::vector<bool> fixed(wanted.size(), false);
  for (std::size_t round = 0; round < wanted.size(); ++round) {
    double free = 1;
    double open = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (fixed[i]) {
        free -= limits[i];
      } else {
        open += wanted[i];
      }
    }
    bool changed = false;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (fixed[i]) continue;
      const double share = open > 0 ? wanted[i] / open * free : 0;
      if (share > limits[i]) {
        fixed[i] = changed = true;
      }
    }
    if (std::all_of(fixed.begin(), fixed.end(), [](bool is) { return is; })) break;
    if (changed) continue;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      wanted[i] = fixed[i] ? limits[i] : wanted[i] / open * free;
    }
    return wanted;
  }
  const double sum = sum_of(limits);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    wanted[i] = sum > 0 ? limits[i] / sum : 1.0 / static_cast<double>(wanted.size());
  }
  return wanted;
}

class Sketcher {
 public:
  Sketcher(const ModelCosts& model, const Bench& bench, const std::vector<double>& speeds,
           const MemoryModel& memory, const Grouping& grouping, ExpertSplit experts)
      : model_(model),
        bench_(bench),
        speeds_(speeds),
        memory_(memory),
        grouping_(grouping),
        experts_(experts) {}

  std::vector<Sketch> sketches() const {
    std::vector<Sketch> out;
    const bool grouped =
        std::any_of(grouping_.begin(), grouping_.end(), [](const auto& g) { return g.size() > 1; });
    for (const bool by_speed : {true, false}) {
      if (!by_speed && !grouped) continue;
      for (const bool fill : {false, true}) {
        if (fill && grouping_.size() == 1) continue;
        auto sketch = make(fill, by_speed);
        if (sketch.empty()) continue;
        const bool either = grouped && model_.has_experts();
        if (either && experts_ != ExpertSplit::kByExpert) {
          out.push_back(with_experts(sketch, false));
        }
        if (either && experts_ != ExpertSplit::kByWidth) out.push_back(with_experts(sketch, true));
        if (!either) out.push_back(std::move(sketch));
      }
    }
    return out;
  }

 private:
  bool host_is_last() const {
    const std::size_t last = grouping_.back().front();
    return grouping_.size() > 1 && bench_.devices[last].is_cpu &&
           !bench_.devices[grouping_.front().front()].is_cpu;
  }

  // Layers that a group holds at most, beginning at `first`.
  std::int32_t most_layers(const std::vector<std::size_t>& group, std::int32_t first,
                           bool last) const {
    double capacity = 0;
    for (const std::size_t device : group) {
      capacity += std::max(0.0, memory_.capacity[device] - memory_.fixed_bytes);
    }
    std::int32_t count = 0;
    const std::int32_t left = model_.num_layers() - first;
    while (count < left && memory_.need(model_, first, count + 1, last) <= capacity) ++count;
    return count;
  }

  std::vector<std::int32_t> layers(bool fill) const {
    const auto stages = grouping_.size();
    std::vector<std::int32_t> counts(stages, 1);
    std::int32_t left = model_.num_layers() - static_cast<std::int32_t>(stages);
    if (left < 0) return {};
    std::vector<double> weight;
    for (const auto& group : grouping_) {
      double speed = 0;
      for (const std::size_t device : group) speed += speeds_[device];
      weight.push_back(speed);
    }
    const double total = sum_of(weight);
    std::int32_t first = 0;
    for (std::size_t i = 0; i < stages; ++i) {
      const bool last = i + 1 == stages;
      const auto fair =
          static_cast<std::int32_t>(std::llround(weight[i] / total * model_.num_layers()));
      const bool take_all = fill || host_is_last();
      const std::int32_t most = std::max(1, most_layers(grouping_[i], first, last));
      const std::int32_t wanted = last ? left + 1 : take_all ? left + 1 : std::max(1, fair);
      counts[i] = last ? left + 1 : std::clamp(wanted, 1, std::min(most, left + 1));
      left -= counts[i] - 1;
      first += counts[i];
    }
    push_back_overflow(counts);
    return counts;
  }

  // Where the last stage holds more than it can, earlier ones take it while they can.
  void push_back_overflow(std::vector<std::int32_t>& counts) const {
    const auto stages = counts.size();
    for (int moves = 0; moves < model_.num_layers(); ++moves) {
      std::int32_t first = 0;
      for (std::size_t i = 0; i + 1 < stages; ++i) first += counts[i];
      if (counts.back() <= std::max(1, most_layers(grouping_.back(), first, true))) return;
      bool moved = false;
      std::int32_t begin = 0;
      for (std::size_t i = 0; i + 1 < stages && !moved; ++i) {
        if (counts[i] < most_layers(grouping_[i], begin, false)) {
          ++counts[i];
          --counts.back();
          moved = true;
        }
        begin += counts[i];
      }
      if (!moved || counts.back() < 2) return;
    }
  }

  // The experts' shares as whole blocks of their width, or as whole experts.
  Sketch with_experts(Sketch sketch, bool by_expert) const {
    const std::int64_t granule = by_expert ? 1 : model_.ffn_granule();
    const std::int64_t total = by_expert ? model_.num_experts() : model_.ffn_width();
    const std::int64_t pieces = (total + granule - 1) / granule;
    for (StageSketch& stage : sketch) {
      stage.by_expert = by_expert;
      stage.expert_shares.clear();
      for (const Interval& held : apportion(pieces, stage.shares)) {
        const std::int64_t end = std::min(held.end * granule, total);
        const std::int64_t begin = std::min(held.begin * granule, total);
        stage.expert_shares.push_back(static_cast<double>(end - begin) /
                                      static_cast<double>(total));
      }
    }
    return sketch;
  }

  Sketch make(bool fill, bool by_speed) const {
    const std::vector<std::int32_t> counts = layers(fill);
    if (counts.empty()) return {};
    Sketch sketch;
    std::int32_t first = 0;
    for (std::size_t i = 0; i < grouping_.size(); ++i) {
      StageSketch stage{first, counts[i], grouping_[i], {}};
      const double need = memory_.need(model_, first, counts[i], i + 1 == grouping_.size());
      std::vector<double> wanted;
      std::vector<double> limits;
      for (const std::size_t device : grouping_[i]) {
        wanted.push_back(by_speed ? speeds_[device] : 1.0);
        limits.push_back(std::max(0.0, memory_.capacity[device] - memory_.fixed_bytes) / need);
      }
      stage.shares = limited(std::move(wanted), limits);
      first += counts[i];
      sketch.push_back(std::move(stage));
    }
    return sketch;
  }

  const ModelCosts& model_;
  const Bench& bench_;
  const std::vector<double>& speeds_;
  const MemoryModel& memory_;
  const Grouping& grouping_;
  ExpertSplit experts_;
};

}  // namespace

double MemoryModel::need(const ModelCosts& model, std::int32_t first, std::int32_t count,
                         bool last) const {
  const RangeCosts costs = model.range(first, count, last);
  const double window = std::min(kv_tokens, std::max(1.0, model.window()));
  return costs.bytes + costs.expert_bytes + costs.kv_bytes_full * kv_tokens +
         costs.kv_bytes_windowed * (model.has_linear_layers() ? window : kv_tokens);
}

std::vector<Grouping> groupings_of(const Bench& bench, const std::vector<double>& speeds,
                                   const std::vector<double>& capacities,
                                   const std::vector<std::size_t>& devices,
                                   const SearchRequest& request) {
  std::vector<std::size_t> by_speed = devices;
  std::stable_sort(by_speed.begin(), by_speed.end(),
                   [&](std::size_t a, std::size_t b) { return speeds[a] > speeds[b]; });
  std::vector<std::size_t> by_size = devices;
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](std::size_t a, std::size_t b) { return capacities[a] > capacities[b]; });
  const std::vector<int> classes = classes_of(bench, capacities);
  std::vector<Grouping> out;
  std::set<std::vector<int>> seen;
  for (const auto& subset : subsets_of(by_speed, by_size, request.use_all_devices)) {
    for (const auto& sizes : group_sizes_of(subset.size(), request)) {
      if (!allowed(sizes, request, devices.size())) continue;
      Grouping grouping;
      std::vector<int> key;
      std::size_t next = 0;
      for (const std::size_t size : sizes) {
        grouping.emplace_back();
        for (std::size_t i = 0; i < size; ++i) {
          grouping.back().push_back(subset[next]);
          key.push_back(classes[subset[next++]]);
        }
        key.push_back(-1);
      }
      if (seen.insert(key).second) out.push_back(std::move(grouping));
    }
  }
  return out;
}

std::vector<Sketch> sketches_of(const ModelCosts& model, const Bench& bench,
                                const std::vector<double>& speeds, const MemoryModel& memory,
                                const Grouping& grouping, ExpertSplit experts) {
  return Sketcher(model, bench, speeds, memory, grouping, experts).sketches();
}

bool fits_roughly(const ModelCosts& model, const MemoryModel& memory, const Sketch& sketch) {
  for (const StageSketch& stage : sketch) {
    const double need =
        memory.need(model, stage.first_layer, stage.num_layers, &stage == &sketch.back());
    const double experts = model.range(stage.first_layer, stage.num_layers, false).expert_bytes;
    for (std::size_t i = 0; i < stage.devices.size(); ++i) {
      const double expert_share =
          stage.expert_shares.empty() ? stage.shares[i] : stage.expert_shares[i];
      const double held = stage.shares[i] * (need - experts) + expert_share * experts;
      if (held + memory.fixed_bytes > memory.capacity[stage.devices[i]]) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace tandem
