#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/policies.h"

namespace tandem {

using RequestId = std::uint64_t;

// unloaded -> loading -> ready -> draining -> unloaded; failed instead of ready, and for a while.
enum class ModelState : std::uint8_t { kUnloaded, kLoading, kReady, kDraining, kFailed };
std::string_view name_of(ModelState state);  // "unloaded", ...

// What the state machine knows of a model.
struct ResidentModel {
  std::string name;
  ResidencyPolicy policy;
  // Bytes in each memory pool while it is loading, ready or draining (placement.h: pools).
  std::vector<std::int64_t> needs;
  std::int32_t max_waiting = 128;
  double load_s = 10;  // what loading took last, or an estimate
};

struct ResidencyOptions {
  // Who waits so long for memory that only busy models hold makes those of no higher priority stop
  // taking requests, once they were ready that long: they end what they have, and make room.
  std::int64_t yield_after_ms = 5'000;
  std::int64_t failed_cooldown_ms = 60'000;  // a failed model is not tried again before
};

struct ResidencyAction {
  enum class Kind : std::uint8_t {
    kLoad,       // start the model's workers; answer with loaded() or load_failed()
    kUnload,     // nothing is on it: stop its workers; answer with unloaded()
    kAbortLoad,  // it takes too long: kill the workers; answer with load_failed()
    kAdmit,      // send `request` on: until end_request() the model counts as busy with it
    kRefuse,     // answer `request` with `why`; request 0: a load() that cannot be
  };
  enum class Reason : std::uint8_t {
    kNone,
    kNeverFits,  // 503: not beside what is pinned, whatever else is unloaded
    kQueueFull,  // 429
    kDeadline,   // 503: it waited too long
    kFailed,     // 503: the model could not be loaded
    kRemoved,    // 404: the configuration no longer has the model
    kUnloaded,   // 503: unloaded by hand, whoever waits for it
  };
  Kind kind = Kind::kLoad;
  std::string model;
  RequestId request = 0;
  Reason reason = Reason::kNone;
  std::string why;
  std::int64_t retry_after_ms = 0;  // 0: no use in trying again
};
using ResidencyActions = std::vector<ResidencyAction>;

// Which models are in memory: a state machine without threads or a clock. Events go in with the
// time (milliseconds of any steady clock, never going back); what is to be done comes out, in
// order, and is to be done in that order. Not thread-safe.
//
// Memory of a model counts from kLoad until unloaded() or load_failed(). Requests of one model
// share one load and are admitted in their order. Models that need memory get it in the order of
// their oldest request, but one that must wait for busy models holds up none behind it until these
// yield.
// Evicted are ready models without a request, not pinned, and only where that makes room enough:
// the lowest priority first, then the least sum of load time by time unused.
class Residency {
 public:
  Residency(std::vector<std::int64_t> pool_capacities, ResidencyOptions options);

  // Adds a model, or changes the policy and needs of one by that name. New needs count from the
  // next load on.
  ResidencyActions set_model(ResidentModel model, std::int64_t now_ms);
  // Refuses who waits for it, drains and unloads it, then forgets it.
  ResidencyActions remove_model(std::string_view name, std::int64_t now_ms);

  // A request for a known model. deadline_ms: of waiting. Ids are unique among the living, not 0.
  ResidencyActions add_request(RequestId request, std::string_view model, std::int64_t now_ms,
                               std::int64_t deadline_ms);
  // It was answered, failed, or its client left, waiting or admitted. Unknown ids are ignored.
  ResidencyActions end_request(RequestId request, std::int64_t now_ms);

  // By hand, and at start for all models that are not on demand. Nothing where it is there already.
  ResidencyActions load(std::string_view model, std::int64_t now_ms);
  ResidencyActions load_startup_models(std::int64_t now_ms);
  // No further request is admitted; kUnload when those it has are over. A request that waits
  // already, or comes meanwhile, has it loaded again; `dismiss`: those that wait already are
  // refused.
  ResidencyActions unload(std::string_view model, std::int64_t now_ms, bool dismiss = false);

  // What became of actions, and of workers.
  ResidencyActions loaded(std::string_view model, std::int64_t now_ms);
  // Its workers are gone. Also for a ready model that cannot be restarted.
  ResidencyActions load_failed(std::string_view model, const std::string& why, std::int64_t now_ms);
  ResidencyActions unloaded(std::string_view model, std::int64_t now_ms);
  // All workers of a ready model died and are being started again: it keeps its memory, and
  // requests wait for loaded().
  ResidencyActions restarting(std::string_view model, std::int64_t now_ms);

  // Deadlines, idle models, load timeouts. Call at next_wakeup_ms(), earlier does no harm.
  ResidencyActions tick(std::int64_t now_ms);
  std::optional<std::int64_t> next_wakeup_ms() const;

  struct View {
    ModelState state = ModelState::kUnloaded;
    std::int32_t num_active = 0;
    std::int32_t num_waiting = 0;
    std::string failure;  // where failed
  };
  std::optional<View> view(std::string_view model) const;
  std::vector<std::int64_t> used_bytes() const;  // by pool
  const std::vector<std::int64_t>& capacity_bytes() const { return capacities_; }

 private:
  struct Waiting {
    RequestId request = 0;
    std::int64_t since_ms = 0;
    std::int64_t deadline_ms = 0;
  };
  struct Model {
    ResidentModel is;
    std::vector<std::int64_t> held;  // needs as of its load; empty: none
    ModelState state = ModelState::kUnloaded;
    std::deque<Waiting> waiting;
    std::int32_t num_active = 0;
    std::optional<std::int64_t> wanted_since_ms;  // load() by hand
    std::int64_t since_ms = 0;                    // of the state
    std::int64_t last_used_ms = 0;
    bool unload_told = false;  // draining: kUnload has been given
    bool abort_told = false;   // loading: kAbortLoad has been given
    bool yields = false;       // takes no request, so that another gets its memory
    bool did_yield = false;    // until now, while it is decided anew
    bool removed = false;
    std::string failure;

    bool is_wanted() const { return !waiting.empty() || wanted_since_ms; }
    std::int64_t wanted_since() const;
    bool is_idle() const { return state == ModelState::kReady && num_active == 0; }
  };
  struct Living {
    std::string model;
    bool is_admitted = false;
  };

  Model* find(std::string_view name);
  void act(ResidencyAction::Kind kind, const Model& model, RequestId request = 0);
  void refuse(const Model& model, RequestId request, ResidencyAction::Reason reason,
              std::string why, std::int64_t retry_after_ms);
  void refuse_waiting(Model& model, ResidencyAction::Reason reason, const std::string& why,
                      std::int64_t retry_after_ms);
  void enter(Model& model, ModelState state);
  // Everything that follows from the state: run after each event. Yields the event's actions.
  ResidencyActions settle();
  void keep_deadlines(Model& model);
  void finish_drains();
  std::vector<Model*> wanted_models();
  void load_wanted();
  bool make_room(Model& model, const std::vector<std::int64_t>& room);
  std::vector<Model*> victims_for(const Model& model, const std::vector<std::int64_t>& missing,
                                  bool busy_too);
  void admit_waiting();
  std::vector<std::int64_t> held_bytes(bool (*counts)(const Model&)) const;
  std::string why_never_fits(const Model& model) const;  // empty: it can

  std::vector<std::int64_t> capacities_;
  ResidencyOptions options_;
  std::map<std::string, Model, std::less<>> models_;
  std::map<RequestId, Living> requests_;
  ResidencyActions actions_;  // of the event at hand
  std::int64_t now_ms_ = 0;   // of the last event
};

}  // namespace tandem
