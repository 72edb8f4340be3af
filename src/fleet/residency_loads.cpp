// Residency: who gets memory, and from whom.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/units.h"
#include "fleet/residency.h"
#include "fleet/victims.h"

namespace tandem {
namespace {

using Bytes = std::vector<std::int64_t>;

// Unused for less counts as this: a cost has to be a number.
constexpr double kLeastIdleS = 0.001;
constexpr double kLeastLoadS = 0.001;

bool fits(const Bytes& needs, const Bytes& room) {
  for (std::size_t pool = 0; pool < needs.size(); ++pool) {
    if (needs[pool] > 0 && needs[pool] > room[pool]) return false;
  }
  return true;
}

}  // namespace

// Those that ask for memory, in the order in which they get it.
std::vector<Residency::Model*> Residency::wanted_models() {
  std::vector<Model*> wanted;
  for (auto& [name, model] : models_) {
    const bool asks = model.is_wanted() && model.state != ModelState::kLoading &&
                      model.state != ModelState::kReady;
    if (asks) wanted.push_back(&model);
  }
  // The map's order, by name, decides between equals.
  std::stable_sort(wanted.begin(), wanted.end(), [](const Model* a, const Model* b) {
    return a->wanted_since() < b->wanted_since();
  });
  return wanted;
}

void Residency::load_wanted() {
  Bytes room = capacities_;
  const Bytes held = used_bytes();
  for (std::size_t pool = 0; pool < room.size(); ++pool) room[pool] -= held[pool];
  std::vector<Model*> yielded;
  for (auto& [name, model] : models_) {
    if (std::exchange(model.yields, false)) yielded.push_back(&model);
  }
  for (Model* model : yielded) model->did_yield = true;
  for (Model* model : wanted_models()) {
    const std::string why = why_never_fits(*model);
    if (!why.empty()) {
      refuse_waiting(*model, ResidencyAction::Reason::kNeverFits, why, 0);
      continue;
    }
    const Bytes& needs = model->is.needs;
    const bool fits_now = fits(needs, room);
    if (model->state != ModelState::kDraining && fits_now) {
      enter(*model, ModelState::kLoading);
      act(ResidencyAction::Kind::kLoad, *model);
    }
    // What it takes, or is sure to get, is nothing that those behind it could have. Where it has
    // to wait for others to become idle, they need not wait with it.
    if (model->state != ModelState::kDraining && !fits_now && !make_room(*model, room)) continue;
    for (std::size_t pool = 0; pool < room.size(); ++pool) room[pool] -= needs[pool];
  }
  for (Model* model : yielded) model->did_yield = false;
}

// Starts to unload others, or asks them to yield, where that brings all that is missing; else does
// nothing. Will the model get its memory?
bool Residency::make_room(Model& model, const Bytes& room) {
  Bytes missing =
      held_bytes([](const Model& other) { return other.state == ModelState::kDraining; });
  for (std::size_t pool = 0; pool < room.size(); ++pool) {
    // Pools that the model does not need are no concern of its own, however others stand there.
    const std::int64_t needs = model.is.needs[pool];
    missing[pool] = needs > 0 ? needs - room[pool] - missing[pool] : 0;
  }
  if (std::all_of(missing.begin(), missing.end(), [](std::int64_t bytes) { return bytes <= 0; })) {
    return true;
  }
  const auto idle = victims_for(model, missing, false);
  for (Model* victim : idle) enter(*victim, ModelState::kDraining);
  if (!idle.empty()) return true;
  const auto busy = victims_for(model, missing, true);
  for (Model* victim : busy) victim->yields = true;
  return !busy.empty();
}

std::vector<Residency::Model*> Residency::victims_for(const Model& model, const Bytes& missing,
                                                      bool busy_too) {
  const bool may_ask = now_ms_ - model.wanted_since() >= options_.yield_after_ms;
  std::vector<Model*> candidates;
  std::vector<Victim> victims;
  for (auto& [name, other] : models_) {
    if (other.state != ModelState::kReady || other.is.policy.pinned) continue;
    const bool is_free = other.is_idle() && (other.waiting.empty() || (may_ask && other.did_yield));
    const bool could_yield = busy_too && may_ask &&
                             other.is.policy.priority <= model.is.policy.priority &&
                             now_ms_ - other.since_ms >= options_.yield_after_ms;
    if (!is_free && !could_yield) continue;
    const double idle_s = static_cast<double>(now_ms_ - other.last_used_ms) / 1000;
    candidates.push_back(&other);
    victims.push_back({other.held, other.is.policy.priority,
                       std::max(other.is.load_s, kLeastLoadS) / std::max(idle_s, kLeastIdleS)});
  }
  std::vector<Model*> chosen;
  for (const std::size_t i : choose_victims(victims, missing)) chosen.push_back(candidates[i]);
  return chosen;
}

std::string Residency::why_never_fits(const Model& model) const {
  for (std::size_t pool = 0; pool < capacities_.size(); ++pool) {
    std::int64_t room = capacities_[pool];
    std::string holders;
    for (const auto& [name, other] : models_) {
      const bool stays = &other != &model && other.is.policy.pinned && !other.held.empty() &&
                         other.state != ModelState::kDraining;
      if (!stays || other.held[pool] == 0) continue;
      room -= other.held[pool];
      holders += (holders.empty() ? "" : ", ") + name;
    }
    if (model.is.needs[pool] == 0 || model.is.needs[pool] <= room) continue;
    return fmt::format("the model needs {} of a device where {} can be had{}{}",
                       format_bytes(model.is.needs[pool]),
                       format_bytes(std::max<std::int64_t>(0, room)),
                       holders.empty() ? "" : " beside what is pinned: ", holders);
  }
  return {};
}

}  // namespace tandem
