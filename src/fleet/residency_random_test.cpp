// Random histories of clients and workers against what must always hold.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "fleet/residency.h"

namespace tandem {
namespace {

using Kind = ResidencyAction::Kind;

// Workers and clients that answer the state machine at random, and watch it.
class World {
 public:
  World(unsigned seed, bool patient) : random_(seed), patient_(patient) {
    const int num_pools = uniform(1, 3);
    for (int i = 0; i < num_pools; ++i) capacities_.push_back(uniform(10, 20));
    residency_ = std::make_unique<Residency>(capacities_, ResidencyOptions{50, 200});
    const int num_models = uniform(2, 7);
    for (int i = 0; i < num_models; ++i) add_model("m" + std::to_string(i));
    apply(residency_->load_startup_models(now_));
  }

  void step() {
    now_ += uniform(0, 9);
    const int dice = uniform(0, 99);
    if (dice < 40) {
      add_request();
    } else if (dice < 70) {
      end_some_request();
    } else if (dice < 95) {
      answer_some_worker();
    } else if (!patient_) {
      disturb();
    }
    apply(residency_->tick(now_));
    check();
  }

  // No further requests: all that are there must be answered and nothing may go on for ever.
  void run_out() {
    for (int i = 0; i < 4000; ++i) {
      now_ += 10;
      end_some_request();
      answer_some_worker();
      apply(residency_->tick(now_));
      check();
      if (alive_.empty() && loading_.empty() && unloading_.empty()) return;
    }
    ADD_FAILURE() << alive_.size() << " requests were never answered";
  }

  int num_admitted = 0;
  int num_evicted = 0;

 private:
  int uniform(int low, int high) { return std::uniform_int_distribution<>(low, high)(random_); }

  template <typename Container>
  auto pick(Container& container) {
    auto it = container.begin();
    std::advance(it, uniform(0, static_cast<int>(container.size()) - 1));
    return it;
  }

  void add_model(const std::string& name) {
    ResidentModel model;
    model.name = name;
    for (const std::int64_t capacity : capacities_) {
      // Patient worlds have none that never fits.
      const auto most = static_cast<int>(patient_ ? capacity : capacity + 2);
      model.needs.push_back(uniform(0, 3) == 0 ? 0 : uniform(1, most));
    }
    model.policy.on_demand = uniform(0, 2) != 0;
    model.policy.priority = patient_ ? 0 : uniform(0, 2);
    model.policy.pinned = !patient_ && uniform(0, 9) == 0;
    model.policy.idle_unload_ms = uniform(0, 3) == 0 ? 60 : 0;
    model.policy.load_timeout_ms = 400;
    model.max_waiting = patient_ ? 1 << 20 : uniform(1, 20);
    needs_[name] = model.needs;
    apply(residency_->set_model(model, now_));
  }

  void add_request() {
    const std::string model = pick(needs_)->first;
    const RequestId id = ++last_id_;
    alive_[id] = {model, false, patient_ ? std::int64_t{1} << 60 : now_ + uniform(20, 600)};
    apply(residency_->add_request(id, model, now_, alive_[id].deadline));
  }

  void end_some_request() {
    if (alive_.empty()) return;
    const auto it = pick(alive_);
    // Patient clients leave only with an answer.
    if (patient_ && !it->second.admitted) return;
    const RequestId id = it->first;
    alive_.erase(it);
    apply(residency_->end_request(id, now_));
  }

  void answer_some_worker() {
    if (!loading_.empty() && (unloading_.empty() || uniform(0, 1) == 0)) {
      const std::string model = *pick(loading_);
      loading_.erase(model);
      const bool fails = !patient_ && (aborted_.erase(model) > 0 || uniform(0, 9) == 0);
      if (fails) {
        apply(residency_->load_failed(model, "failed", now_));
        in_memory_.erase(model);
      } else {
        apply(residency_->loaded(model, now_));
      }
    } else if (!unloading_.empty()) {
      const std::string model = *pick(unloading_);
      unloading_.erase(model);
      in_memory_.erase(model);
      apply(residency_->unloaded(model, now_));
    }
  }

  // By hand, and crashes.
  void disturb() {
    const std::string model = pick(needs_)->first;
    switch (uniform(0, 3)) {
      case 0:
        return apply(residency_->load(model, now_));
      case 1:
        return apply(residency_->unload(model, now_, !patient_ && uniform(0, 1) == 0));
      case 2:
        if (residency_->view(model)->state != ModelState::kReady) return;
        apply(residency_->restarting(model, now_));
        loading_.insert(model);
        return;
      default:
        if (residency_->view(model)->state != ModelState::kReady) return;
        in_memory_.erase(model);
        apply(residency_->load_failed(model, "crashed", now_));
    }
  }

  void apply(const ResidencyActions& actions) {
    for (const ResidencyAction& action : actions) {
      const std::string& model = action.model;
      switch (action.kind) {
        case Kind::kLoad:
          EXPECT_TRUE(in_memory_.insert(model).second) << model << " is loaded twice";
          loading_.insert(model);
          break;
        case Kind::kUnload:
          EXPECT_TRUE(in_memory_.contains(model));
          EXPECT_EQ(active_of(model), 0) << model << " is unloaded while busy";
          unloading_.insert(model);
          loading_.erase(model);
          aborted_.erase(model);
          ++num_evicted;
          break;
        case Kind::kAbortLoad:
          EXPECT_TRUE(loading_.contains(model));
          aborted_.insert(model);
          break;
        case Kind::kAdmit:
          admit(action);
          break;
        case Kind::kRefuse:
          EXPECT_TRUE(!patient_ || action.request == 0) << action.why;
          EXPECT_FALSE(action.why.empty());
          EXPECT_TRUE(action.request == 0 || alive_.erase(action.request) == 1);
          break;
      }
    }
  }

  void admit(const ResidencyAction& action) {
    ASSERT_TRUE(alive_.contains(action.request)) << "admitted after it left";
    Alive& request = alive_.at(action.request);
    EXPECT_FALSE(request.admitted) << "admitted twice";
    EXPECT_EQ(request.model, action.model);
    EXPECT_TRUE(in_memory_.contains(action.model) && !unloading_.contains(action.model) &&
                !loading_.contains(action.model))
        << "sent to a model that is not there";
    for (const auto& [id, other] : alive_) {
      EXPECT_FALSE(id < action.request && other.model == action.model && !other.admitted)
          << "request " << action.request << " overtook " << id;
    }
    request.admitted = true;
    ++num_admitted;
  }

  int active_of(const std::string& model) const {
    return static_cast<int>(std::count_if(alive_.begin(), alive_.end(), [&](const auto& entry) {
      return entry.second.admitted && entry.second.model == model;
    }));
  }

  void check() {
    std::vector<std::int64_t> used(capacities_.size(), 0);
    for (const std::string& model : in_memory_) {
      for (std::size_t pool = 0; pool < used.size(); ++pool) used[pool] += needs_[model][pool];
    }
    for (std::size_t pool = 0; pool < used.size(); ++pool) {
      ASSERT_LE(used[pool], capacities_[pool]) << "pool " << pool << " is overfull";
    }
    ASSERT_EQ(residency_->used_bytes(), used);
    for (const auto& [id, request] : alive_) {
      ASSERT_TRUE(request.admitted || request.deadline > now_) << id << " waits past its deadline";
    }
    const auto next = residency_->next_wakeup_ms();
    ASSERT_TRUE(!next || *next > now_);
  }

  struct Alive {
    std::string model;
    bool admitted = false;
    std::int64_t deadline = 0;
  };

  std::mt19937 random_;
  bool patient_;
  std::vector<std::int64_t> capacities_;
  std::unique_ptr<Residency> residency_;
  std::map<std::string, std::vector<std::int64_t>> needs_;
  std::map<RequestId, Alive> alive_;
  std::set<std::string> in_memory_;
  std::set<std::string> loading_;
  std::set<std::string> aborted_;
  std::set<std::string> unloading_;
  RequestId last_id_ = 0;
  std::int64_t now_ = 0;
};

class RandomResidency : public ::testing::TestWithParam<bool> {};

TEST_P(RandomResidency, InvariantsHoldAndEveryRequestIsAnswered) {
  int admitted = 0;
  int evicted = 0;
  for (unsigned seed = 1; seed <= 150 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed, GetParam());
    for (int i = 0; i < 300 && !::testing::Test::HasFailure(); ++i) world.step();
    world.run_out();
    admitted += world.num_admitted;
    evicted += world.num_evicted;
  }
  // Histories in which nothing happens show nothing.
  EXPECT_GT(admitted, 1000);
  EXPECT_GT(evicted, 500);
}

// patient: equal priorities, no deadlines, workers that never fail: nobody may be refused.
INSTANTIATE_TEST_SUITE_P(Worlds, RandomResidency, ::testing::Bool(),
                         [](const auto& world) { return world.param ? "Patient" : "Hostile"; });

}  // namespace
}  // namespace tandem
