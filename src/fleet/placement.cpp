#include "fleet/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "fleet/placement_options.h"
#include "plan/advice.h"

namespace tandem {
namespace {

using Bytes = std::vector<std::int64_t>;

constexpr std::int32_t kMostAutoReplicas = 16;
constexpr double kLeastReplicaGain = 0.05;  // of the objective
constexpr int kRelayRounds = 4;             // of laying out again what found no room

// A model with the ways to run it.
struct Candidate {
  const ModelConfig* config = nullptr;
  const std::optional<ModelSpec>* spec = nullptr;
  std::vector<std::vector<MachineDevice>> sets;       // of devices; one a replica where named
  bool sets_are_replicas = false;                     // devices were named
  std::vector<std::vector<PlacementOption>> options;  // by replica, or one list for all
  std::int32_t num_replicas = 1;
  std::string why_none;  // where there is no option

  const std::vector<PlacementOption>& options_of(std::int32_t replica) const {
    return options[sets_are_replicas ? static_cast<std::size_t>(replica) : 0];
  }
  std::vector<PlacementOption>& options_of(std::int32_t replica) {
    return options[sets_are_replicas ? static_cast<std::size_t>(replica) : 0];
  }
  bool is_resident() const { return !config->residency.on_demand || config->residency.pinned; }
};

std::string where_of(const ModelConfig& model) {
  return fmt::format("{}: [[model]] {}", model.line.number, model.name);
}

class Placer {
 public:
  Placer(const FleetConfig& config, FleetMachine machine,
         const std::vector<std::optional<ModelSpec>>& specs)
      : config_(config), machine_(std::move(machine)), specs_(specs) {
    for (const MemoryPool& pool : machine_.pools()) capacity_.push_back(pool.usable_bytes());
  }

  Result<FleetPlacement> run() {
    for (std::size_t i = 0; i < config_.models.size(); ++i) {
      TANDEM_TRY_STATUS(add_candidate(config_.models[i], specs_[i]));
    }
    packing_ = pack(problem());
    for (int round = 0; round < kRelayRounds && lay_out_again(); ++round) {
      packing_ = pack(problem());
    }
    add_auto_replicas();
    return result();
  }

 private:
  Status add_candidate(const ModelConfig& model, const std::optional<ModelSpec>& spec) {
    Candidate candidate;
    candidate.config = &model;
    candidate.spec = &spec;
    const PlacementWish& wish = model.placement;
    candidate.num_replicas = wish.replicas.value_or(1);
    candidate.sets_are_replicas = !wish.devices.empty() && wish.replicas.has_value();
    for (const auto& names : wish.devices) {
      const auto devices = machine_.named_devices(names);
      if (!devices.ok()) {
        Error error = devices.error();
        error.where = "`devices`";  // not the flag of that name
        return error.at(where_of(model));
      }
      if (candidate.sets_are_replicas) {
        candidate.sets.push_back(*devices);
      } else {
        candidate.sets = device_sets(*devices);
      }
    }
    if (candidate.sets.empty()) candidate.sets = device_sets(machine_.auto_devices());
    candidate.options.resize(candidate.sets_are_replicas ? candidate.sets.size() : 1);
    TANDEM_TRY_STATUS(fill_options(candidate, capacity_));
    candidates_.push_back(std::move(candidate));
    return {};
  }

  // The ways to run the model's replicas with `room`.
  Status fill_options(Candidate& candidate, const Bytes& room) const {
    std::size_t num_senseless = 0;
    for (std::size_t set = 0; set < candidate.sets.size(); ++set) {
      auto option =
          option_on(machine_, *candidate.config, *candidate.spec, candidate.sets[set], room);
      if (option.ok()) {
        candidate.options[candidate.sets_are_replicas ? set : 0].push_back(*std::move(option));
        continue;
      }
      const bool makes_sense = option.error().code == ErrorCode::kDoesNotFit;
      if (makes_sense || candidate.why_none.empty()) candidate.why_none = option.error().what;
      // No room is an outcome; what can be nowhere as it was asked for is an error.
      if (!makes_sense && ++num_senseless == candidate.sets.size()) {
        return option.error().at(where_of(*candidate.config));
      }
    }
    return {};
  }

  PackingProblem problem() const {
    PackingProblem problem;
    problem.capacities = capacity_;
    problem.num_units = machine_.num_units();
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      const Candidate& candidate = candidates_[i];
      for (std::int32_t replica = 0; replica < candidate.num_replicas; ++replica) {
        PackingItem item{i, candidate.is_resident(), candidate.config->residency.pinned, {}};
        for (const PlacementOption& option : candidate.options_of(replica)) {
          item.options.push_back(option.packing);
        }
        problem.items.push_back(std::move(item));
      }
    }
    return problem;
  }

  // Calls body(candidate index, replica, chosen option or nullptr).
  template <typename Body>
  void for_each_replica(Body&& body) const {
    std::size_t item = 0;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      for (std::int32_t replica = 0; replica < candidates_[i].num_replicas; ++replica, ++item) {
        const int choice = packing_.choice[item];
        const auto& options = candidates_[i].options_of(replica);
        body(i, replica, choice < 0 ? nullptr : &options[static_cast<std::size_t>(choice)]);
      }
    }
  }

  // What is left by those that would be beside a replica of this candidate.
  Bytes room_beside(std::size_t candidate) const {
    Bytes room = capacity_;
    for_each_replica([&](std::size_t i, std::int32_t, const PlacementOption* option) {
      const Candidate& other = candidates_[i];
      const bool stays = other.is_resident() &&
                         (candidates_[candidate].is_resident() || other.config->residency.pinned);
      if (option == nullptr || (!stays && i != candidate)) return;
      for (std::size_t pool = 0; pool < room.size(); ++pool) {
        room[pool] -= option->packing.bytes[pool];
      }
    });
    return room;
  }

  // Gives what found no room further options, laid out for what the others leave.
  bool lay_out_again() {
    bool found = false;
    std::vector<std::pair<std::size_t, std::int32_t>> without;
    for_each_replica([&](std::size_t i, std::int32_t replica, const PlacementOption* option) {
      if (option == nullptr) without.emplace_back(i, replica);
    });
    for (const auto& [i, replica] : without) {
      Candidate& candidate = candidates_[i];
      const Bytes room = room_beside(i);
      for (std::size_t set = 0; set < candidate.sets.size(); ++set) {
        if (candidate.sets_are_replicas && set != static_cast<std::size_t>(replica)) continue;
        auto option =
            option_on(machine_, *candidate.config, *candidate.spec, candidate.sets[set], room);
        if (!option.ok()) continue;
        candidate.options_of(replica).push_back(*std::move(option));
        found = true;
      }
      if (found) return true;  // the room is another one now
    }
    return false;
  }

  // One more replica where that is worth most, as long as it is worth something.
  void add_auto_replicas() {
    while (true) {
      Packing best = packing_;
      Candidate* grown = nullptr;
      for (Candidate& candidate : candidates_) {
        const bool can_grow = !candidate.config->placement.replicas &&
                              candidate.num_replicas < kMostAutoReplicas &&
                              !candidate.options.front().empty();
        if (!can_grow) continue;
        ++candidate.num_replicas;
        Packing trial = pack(problem());
        --candidate.num_replicas;
        if (trial.value < packing_.value + kLeastReplicaGain || trial.value <= best.value) continue;
        best = std::move(trial);
        grown = &candidate;
      }
      if (grown == nullptr) return;
      ++grown->num_replicas;
      packing_ = std::move(best);
    }
  }

  FleetPlacement result() const {
    FleetPlacement placement;
    placement.pools = machine_.pools();
    placement.value = packing_.value;
    placement.is_optimal = packing_.is_optimal;
    for (const Candidate& candidate : candidates_) {
      ModelPlacement& model = placement.models.emplace_back();
      model.name = candidate.config->name;
      model.is_resident = candidate.is_resident();
    }
    for_each_replica([&](std::size_t i, std::int32_t, const PlacementOption* option) {
      ModelPlacement& model = placement.models[i];
      if (option == nullptr) {
        ++model.num_missing;
      } else {
        model.replicas.push_back(option->replica);
      }
    });
    judge(placement);
    return placement;
  }

  void judge(FleetPlacement& placement) const {
    Bytes left = capacity_;
    for (const ModelPlacement& model : placement.models) {
      const Bytes needs = model.needs();
      for (std::size_t pool = 0; model.is_resident && pool < needs.size(); ++pool) {
        left[pool] -= needs[pool];
      }
    }
    for (std::size_t i = 0; i < placement.models.size(); ++i) {
      ModelPlacement& model = placement.models[i];
      const Bytes needs = model.needs();
      for (std::size_t pool = 0; !model.is_resident && pool < needs.size(); ++pool) {
        if (needs[pool] > left[pool]) model.fits_beside_residents = false;
      }
      if (model.num_missing > 0) explain(i, model);
    }
  }

  void explain(std::size_t i, ModelPlacement& model) const {
    const Candidate& candidate = candidates_[i];
    const bool fits_alone = std::any_of(candidate.options.begin(), candidate.options.end(),
                                        [](const auto& options) { return !options.empty(); });
    const std::string some =
        candidate.num_replicas > 1
            ? fmt::format("{} of {} replicas have no room: ", model.num_missing,
                          candidate.num_replicas)
            : std::string();
    if (!fits_alone) {
      model.why_not = some + candidate.why_none;
    } else {
      model.why_not = some + "it would fit, but not beside " + neighbours(i);
    }
    model.would_fit = changes_that_fit(i);
  }

  std::string neighbours(std::size_t candidate) const {
    std::vector<std::string> names;
    for_each_replica([&](std::size_t i, std::int32_t, const PlacementOption* option) {
      const Candidate& other = candidates_[i];
      const bool stays = other.is_resident() &&
                         (candidates_[candidate].is_resident() || other.config->residency.pinned);
      const bool counts = option != nullptr && (stays || i == candidate);
      if (!counts) return;
      const std::string name = i == candidate ? "its other replicas" : other.config->name;
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    });
    return fmt::format("{}", fmt::join(names, ", "));
  }

  // Changes of the model, each tried in the room that the others leave.
  std::vector<std::string> changes_that_fit(std::size_t i) const {
    const Candidate& candidate = candidates_[i];
    std::vector<std::string> out;
    const auto fits = [&](const ModelConfig& changed, const Bytes& room) {
      return std::any_of(candidate.sets.begin(), candidate.sets.end(), [&](const auto& set) {
        return option_on(machine_, changed, *candidate.spec, set, room).ok();
      });
    };
    const Bytes room = room_beside(i);
    ModelConfig changed = *candidate.config;
    if (candidate.is_resident()) {
      Bytes beside_pinned = capacity_;
      for_each_replica([&](std::size_t other, std::int32_t, const PlacementOption* option) {
        if (option == nullptr || !candidates_[other].config->residency.pinned) return;
        for (std::size_t pool = 0; pool < room.size(); ++pool) {
          beside_pinned[pool] -= option->packing.bytes[pool];
        }
      });
      if (!changed.residency.pinned && fits(changed, beside_pinned)) {
        out.push_back("load = \"on-demand\": it would take turns with others");
      }
    }
    if (!*candidate.spec) return out;
    if (changed.placement.plan.kv_type != ElementType::kQ8_0) {
      changed.placement.plan.kv_type = ElementType::kQ8_0;
      if (fits(changed, room)) out.push_back("kv_type = \"q8_0\"");
      changed = *candidate.config;
    }
    PlanRequest& plan = changed.placement.plan;
    while (plan.max_sequences > 1) {
      plan.max_sequences /= 2;
      if (!fits(changed, room)) continue;
      out.push_back(fmt::format("parallel = {}", plan.max_sequences));
      return out;
    }
    std::int64_t context = plan.context_tokens.value_or(0);
    if (context == 0)
      context = plan.context_tokens ? (*candidate.spec)->context_tokens : kDefaultContextTokens;
    while (context > 256) {
      context /= 2;
      plan.context_tokens = context;
      if (!fits(changed, room)) continue;
      out.push_back(fmt::format("parallel = 1 with context = {}", context));
      break;
    }
    return out;
  }

  const FleetConfig& config_;
  FleetMachine machine_;
  const std::vector<std::optional<ModelSpec>>& specs_;
  Bytes capacity_;
  std::vector<Candidate> candidates_;
  Packing packing_;
};

}  // namespace

std::string ReplicaPlacement::device_list() const {
  std::string list;
  for (const DeviceUse& share : shares) list += (list.empty() ? "" : ",") + share.device;
  return list;
}

std::vector<std::int64_t> ModelPlacement::needs() const {
  Bytes sum;
  for (const ReplicaPlacement& replica : replicas) {
    sum.resize(replica.pool_bytes.size(), 0);
    for (std::size_t pool = 0; pool < sum.size(); ++pool) sum[pool] += replica.pool_bytes[pool];
  }
  return sum;
}

bool FleetPlacement::fits() const {
  return std::all_of(models.begin(), models.end(),
                     [](const ModelPlacement& model) { return model.num_missing == 0; });
}

const ModelPlacement* FleetPlacement::find(std::string_view model) const {
  const auto found = std::find_if(models.begin(), models.end(),
                                  [&](const ModelPlacement& one) { return one.name == model; });
  return found == models.end() ? nullptr : &*found;
}

Result<FleetPlacement> place_fleet(const FleetConfig& config, const Machine& machine,
                                   const std::vector<std::optional<ModelSpec>>& specs) {
  if (specs.size() != config.models.size()) {
    return invalid_argument("a spec for each model", std::to_string(config.models.size()),
                            std::to_string(specs.size()));
  }
  TANDEM_TRY(FleetMachine fleet, FleetMachine::create(machine, config.placement));
  return Placer(config, std::move(fleet), specs).run();
}

}  // namespace tandem
