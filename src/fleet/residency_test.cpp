#include "fleet/residency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fleet/victims.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kFar = 1'000'000'000;

// "load a", "admit a 7", "refuse a 7 deadline": actions as a test reads them.
std::string text_of(const ResidencyAction& action) {
  static constexpr const char* kKinds[] = {"load", "unload", "abort", "admit", "refuse"};
  static constexpr const char* kReasons[] = {"",        " never",   " full",    " deadline",
                                             " failed", " removed", " unloaded"};
  std::string text = kKinds[static_cast<int>(action.kind)] + (" " + action.model);
  if (action.request != 0) text += " " + std::to_string(action.request);
  return text + kReasons[static_cast<int>(action.reason)];
}

std::vector<std::string> texts_of(const ResidencyActions& actions) {
  std::vector<std::string> out;
  for (const ResidencyAction& action : actions) out.push_back(text_of(action));
  return out;
}

#define EXPECT_ACTIONS(actions, ...) EXPECT_THAT(texts_of(actions), (ElementsAre(__VA_ARGS__)))
#define EXPECT_NO_ACTIONS(actions) EXPECT_THAT(texts_of(actions), IsEmpty())

ResidentModel model_of(std::string name, std::vector<std::int64_t> needs, bool on_demand = true) {
  ResidentModel model;
  model.name = std::move(name);
  model.needs = std::move(needs);
  model.policy.on_demand = on_demand;
  return model;
}

// One device of 10 bytes; models a, b, c of 6 each: one at a time.
class OneDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"a", "b", "c"}) residency_.set_model(model_of(name, {6}), 0);
  }
  // Asked for, loaded, answered: idle since `now`.
  void make_ready(const std::string& name, std::int64_t now) {
    residency_.load(name, now);
    residency_.loaded(name, now);
    ASSERT_EQ(residency_.view(name)->state, ModelState::kReady);
  }
  ModelState state_of(const std::string& name) const { return residency_.view(name)->state; }

  Residency residency_{{10}, {}};
};

TEST_F(OneDevice, WaitingRequestsShareOneLoadAndKeepTheirOrder) {
  EXPECT_ACTIONS(residency_.add_request(1, "a", 0, kFar), "load a");
  EXPECT_NO_ACTIONS(residency_.add_request(2, "a", 1, kFar));
  EXPECT_NO_ACTIONS(residency_.add_request(3, "a", 2, kFar));
  EXPECT_EQ(residency_.view("a")->num_waiting, 3);
  EXPECT_ACTIONS(residency_.loaded("a", 9), "admit a 1", "admit a 2", "admit a 3");
  EXPECT_ACTIONS(residency_.add_request(4, "a", 10, kFar), "admit a 4");
  EXPECT_EQ(residency_.view("a")->num_active, 4);
}

TEST_F(OneDevice, IdleModelsAreEvictedAndTheirMemoryWaitedFor) {
  make_ready("a", 0);
  EXPECT_ACTIONS(residency_.add_request(1, "b", 5, kFar), "unload a");
  EXPECT_EQ(state_of("b"), ModelState::kUnloaded) << "its memory is not free yet";
  EXPECT_ACTIONS(residency_.unloaded("a", 6), "load b");
  EXPECT_EQ(residency_.used_bytes(), std::vector<std::int64_t>{6});
}

TEST_F(OneDevice, BusyModelsAreNotEvicted) {
  residency_.add_request(1, "a", 0, kFar);
  EXPECT_ACTIONS(residency_.loaded("a", 1), "admit a 1");
  EXPECT_NO_ACTIONS(residency_.add_request(2, "b", 2, kFar));
  EXPECT_ACTIONS(residency_.end_request(1, 3), "unload a");
}

TEST_F(OneDevice, LoadingModelsAreNotEvicted) {
  EXPECT_ACTIONS(residency_.add_request(1, "a", 0, kFar), "load a");
  EXPECT_NO_ACTIONS(residency_.add_request(2, "b", 1, kFar));
  EXPECT_NO_ACTIONS(residency_.tick(100'000));
  EXPECT_ACTIONS(residency_.loaded("a", 100'001), "admit a 1");
}

TEST_F(OneDevice, PinnedModelsAreNotEvictedAndWhatCannotFitIsRefusedAtOnce) {
  ResidentModel pinned = model_of("p", {6});
  pinned.policy.pinned = true;
  residency_.set_model(pinned, 0);
  make_ready("p", 0);
  const ResidencyActions actions = residency_.add_request(1, "a", 1, kFar);
  EXPECT_ACTIONS(actions, "refuse a 1 never");
  EXPECT_THAT(actions[0].why, HasSubstr("6 B of a device where 4 B can be had beside what is "
                                        "pinned: p"));
  EXPECT_EQ(actions[0].retry_after_ms, 0);
}

TEST_F(OneDevice, AModelLargerThanTheDeviceEvictsNothing) {
  make_ready("a", 0);
  residency_.set_model(model_of("huge", {11}), 0);
  EXPECT_ACTIONS(residency_.add_request(1, "huge", 1, kFar), "refuse huge 1 never");
  EXPECT_EQ(state_of("a"), ModelState::kReady);
}

// Without room even with all that is idle gone, nothing idle may go: it would come back, and go.
TEST(Residency, NothingIsEvictedInVain) {
  Residency residency({10}, {});
  for (const char* name : {"idle", "busy"}) residency.set_model(model_of(name, {4}), 0);
  residency.set_model(model_of("big", {8}), 0);
  residency.load("idle", 0);
  residency.loaded("idle", 0);
  residency.add_request(1, "busy", 0, kFar);
  residency.loaded("busy", 0);
  EXPECT_NO_ACTIONS(residency.add_request(2, "big", 1, kFar));
  for (int i = 2; i < 50; ++i) EXPECT_NO_ACTIONS(residency.tick(i));
  EXPECT_EQ(residency.view("idle")->state, ModelState::kReady);
  EXPECT_ACTIONS(residency.end_request(1, 60), "unload busy", "unload idle");
}

TEST_F(OneDevice, AClientThatLeavesCausesNoEviction) {
  residency_.add_request(1, "a", 0, kFar);
  residency_.loaded("a", 0);
  residency_.add_request(2, "b", 1, kFar);
  EXPECT_NO_ACTIONS(residency_.end_request(2, 2));
  EXPECT_NO_ACTIONS(residency_.end_request(1, 3));
  EXPECT_EQ(state_of("a"), ModelState::kReady);
}

TEST_F(OneDevice, AClientThatLeavesCausesNoLoad) {
  make_ready("a", 0);
  EXPECT_ACTIONS(residency_.add_request(1, "b", 1, kFar), "unload a");
  residency_.end_request(1, 2);
  EXPECT_NO_ACTIONS(residency_.unloaded("a", 3));
  EXPECT_EQ(state_of("b"), ModelState::kUnloaded);
}

TEST_F(OneDevice, WhoLeavesTheQueueLeavesTheOthersTheirTurn) {
  residency_.add_request(1, "a", 0, kFar);
  residency_.add_request(2, "a", 0, kFar);
  residency_.end_request(1, 1);
  EXPECT_ACTIONS(residency_.loaded("a", 2), "admit a 2");
}

TEST_F(OneDevice, ARequestDuringAnUnloadLoadsTheModelAgain) {
  ResidentModel model = model_of("a", {6});
  model.policy.idle_unload_ms = 100;
  residency_.set_model(model, 0);
  make_ready("a", 0);
  EXPECT_EQ(residency_.next_wakeup_ms(), 100);
  EXPECT_ACTIONS(residency_.tick(100), "unload a");
  EXPECT_NO_ACTIONS(residency_.add_request(1, "a", 101, kFar));
  EXPECT_ACTIONS(residency_.unloaded("a", 102), "load a");
  EXPECT_ACTIONS(residency_.loaded("a", 103), "admit a 1");
}

TEST_F(OneDevice, IdleUnloadCountsFromTheLastRequestsEnd) {
  ResidentModel model = model_of("a", {6});
  model.policy.idle_unload_ms = 100;
  residency_.set_model(model, 0);
  residency_.add_request(1, "a", 0, kFar);
  residency_.loaded("a", 10);
  EXPECT_NO_ACTIONS(residency_.tick(500)) << "busy";
  residency_.end_request(1, 600);
  EXPECT_NO_ACTIONS(residency_.tick(699));
  EXPECT_ACTIONS(residency_.tick(700), "unload a");
}

// Once admitted, a request counts at once: nothing comes between "loaded" and its being sent on.
TEST_F(OneDevice, AnAdmittedRequestKeepsTheModelBeforeItIsSent) {
  residency_.add_request(1, "a", 0, kFar);
  residency_.add_request(2, "b", 0, kFar);
  EXPECT_ACTIONS(residency_.loaded("a", 1), "admit a 1");
  EXPECT_NO_ACTIONS(residency_.tick(2));
  EXPECT_EQ(state_of("a"), ModelState::kReady);
}

TEST_F(OneDevice, UnloadByHandLetsRunningRequestsEnd) {
  residency_.add_request(1, "a", 0, kFar);
  residency_.loaded("a", 1);
  EXPECT_NO_ACTIONS(residency_.unload("a", 2));
  EXPECT_EQ(state_of("a"), ModelState::kDraining);
  EXPECT_NO_ACTIONS(residency_.add_request(2, "a", 3, kFar)) << "not to a child that stops";
  EXPECT_ACTIONS(residency_.end_request(1, 4), "unload a");
  EXPECT_ACTIONS(residency_.unloaded("a", 5), "load a");
}

TEST_F(OneDevice, UnloadByHandMayTurnAwayWhoWaits) {
  residency_.add_request(1, "a", 0, kFar);
  EXPECT_ACTIONS(residency_.unload("a", 1, true), "refuse a 1 unloaded", "unload a");
  EXPECT_NO_ACTIONS(residency_.unloaded("a", 2));
  EXPECT_EQ(state_of("a"), ModelState::kUnloaded);
  // Who waits without it being there yet is turned away as well.
  make_ready("b", 3);
  residency_.add_request(2, "b", 4, kFar);
  residency_.add_request(3, "a", 4, kFar);
  EXPECT_ACTIONS(residency_.unload("a", 5, true), "refuse a 3 unloaded");
  EXPECT_NO_ACTIONS(residency_.end_request(2, 6)) << "nobody wants its memory";
}

TEST_F(OneDevice, ALoadedThatComesAfterTheUnloadChangesNothing) {
  residency_.load("a", 0);
  EXPECT_ACTIONS(residency_.unload("a", 1), "unload a");
  EXPECT_NO_ACTIONS(residency_.loaded("a", 2));
  EXPECT_EQ(state_of("a"), ModelState::kDraining);
  residency_.unloaded("a", 3);
  EXPECT_EQ(residency_.used_bytes(), std::vector<std::int64_t>{0});
}

TEST_F(OneDevice, WaitingHasADeadline) {
  residency_.add_request(1, "a", 0, 50);
  EXPECT_EQ(residency_.next_wakeup_ms(), 50);
  EXPECT_NO_ACTIONS(residency_.tick(49));
  const ResidencyActions actions = residency_.tick(50);
  EXPECT_ACTIONS(actions, "refuse a 1 deadline");
  EXPECT_THAT(actions[0].why, HasSubstr("loading"));
  EXPECT_NO_ACTIONS(residency_.loaded("a", 51)) << "nobody is left";
}

TEST_F(OneDevice, TheQueueHasALimit) {
  ResidentModel model = model_of("a", {6});
  model.max_waiting = 2;
  residency_.set_model(model, 0);
  residency_.add_request(1, "a", 0, kFar);
  residency_.add_request(2, "a", 0, kFar);
  EXPECT_ACTIONS(residency_.add_request(3, "a", 0, kFar), "refuse a 3 full");
}

TEST_F(OneDevice, AFailedLoadAnswersAllAndIsNotTriedAgainAtOnce) {
  residency_.add_request(1, "a", 0, kFar);
  residency_.add_request(2, "a", 0, kFar);
  const ResidencyActions actions = residency_.load_failed("a", "no such file", 10);
  EXPECT_ACTIONS(actions, "refuse a 1 failed", "refuse a 2 failed");
  EXPECT_EQ(actions[0].why, "no such file");
  EXPECT_EQ(residency_.used_bytes(), std::vector<std::int64_t>{0});
  const ResidencyActions soon = residency_.add_request(3, "a", 20'000, kFar);
  EXPECT_ACTIONS(soon, "refuse a 3 failed");
  EXPECT_EQ(soon[0].retry_after_ms, 40'010);
  EXPECT_ACTIONS(residency_.add_request(4, "a", 60'010, kFar), "load a");
}

TEST_F(OneDevice, ALoadThatTakesTooLongIsAborted) {
  ResidentModel model = model_of("a", {6});
  model.policy.load_timeout_ms = 100;
  residency_.set_model(model, 0);
  residency_.add_request(1, "a", 0, kFar);
  EXPECT_ACTIONS(residency_.tick(100), "abort a");
  EXPECT_NO_ACTIONS(residency_.tick(200)) << "once";
  EXPECT_ACTIONS(residency_.load_failed("a", "too slow", 210), "refuse a 1 failed");
}

TEST_F(OneDevice, ARestartKeepsTheMemoryAndTheQueue) {
  make_ready("a", 0);
  residency_.restarting("a", 10);
  EXPECT_NO_ACTIONS(residency_.add_request(1, "a", 11, kFar));
  EXPECT_NO_ACTIONS(residency_.add_request(2, "b", 11, kFar));
  EXPECT_ACTIONS(residency_.loaded("a", 20), "admit a 1");
}

TEST_F(OneDevice, TheLeastRecentlyUsedGoesFirst) {
  Residency residency({12}, {});
  for (const char* name : {"a", "b", "c"}) residency.set_model(model_of(name, {6}), 0);
  for (const char* name : {"a", "b"}) {
    residency.load(name, 0);
    residency.loaded(name, 1000);
  }
  residency.add_request(1, "a", 2000, kFar);
  residency.end_request(1, 3000);
  EXPECT_ACTIONS(residency.add_request(2, "c", 4000, kFar), "unload b");
}

TEST(Residency, PriorityStaysAndCostCounts) {
  Residency residency({12}, {});
  ResidentModel dear = model_of("dear", {6});
  dear.policy.priority = 1;
  residency.set_model(dear, 0);
  residency.set_model(model_of("cheap", {6}), 0);
  residency.set_model(model_of("c", {6}), 0);
  for (const char* name : {"dear", "cheap"}) {
    residency.load(name, 0);
    residency.loaded(name, 1000);
  }
  residency.add_request(1, "cheap", 5000, kFar);
  residency.end_request(1, 9000);
  EXPECT_ACTIONS(residency.add_request(2, "c", 10'000, kFar), "unload cheap")
      << "used last, but of lower priority";
}

TEST(Residency, SlowLoadersStayLongerThanQuickOnes) {
  Residency residency({12}, {});
  for (const char* name : {"slow", "quick", "c"}) residency.set_model(model_of(name, {6}), 0);
  residency.load("slow", 0);
  residency.load("quick", 0);
  residency.loaded("quick", 100);
  residency.loaded("slow", 60'000);
  residency.add_request(1, "quick", 60'000, kFar);
  residency.end_request(1, 61'000);  // after slow was used last
  EXPECT_ACTIONS(residency.add_request(2, "c", 63'000, kFar), "unload quick");
}

TEST(Residency, ModelsThatShareNoDeviceDoNotWaitForEachOther) {
  Residency residency({10, 10}, {});
  residency.set_model(model_of("a", {8, 0}), 0);
  residency.set_model(model_of("b", {8, 0}), 0);
  residency.set_model(model_of("other", {0, 8}), 0);
  residency.add_request(1, "a", 0, kFar);
  residency.loaded("a", 0);
  EXPECT_NO_ACTIONS(residency.add_request(2, "b", 1, kFar));
  EXPECT_ACTIONS(residency.add_request(3, "other", 2, kFar), "load other");
}

TEST(Residency, WhoWaitsForABusyModelHoldsUpNoSmallerOne) {
  Residency residency({10}, {});
  residency.set_model(model_of("busy", {6}), 0);
  residency.set_model(model_of("big", {8}), 0);
  residency.set_model(model_of("small", {2}), 0);
  residency.add_request(1, "busy", 0, kFar);
  residency.loaded("busy", 0);
  EXPECT_NO_ACTIONS(residency.add_request(2, "big", 1, kFar));
  EXPECT_ACTIONS(residency.add_request(3, "small", 2, kFar), "load small");
}

// A model that never becomes idle would keep another out for ever.
TEST_F(OneDevice, BusyModelsYieldAfterAWhile) {
  residency_.add_request(1, "a", 0, kFar);
  residency_.loaded("a", 0);
  residency_.add_request(2, "b", 1000, kFar);
  EXPECT_ACTIONS(residency_.add_request(3, "a", 5999, kFar), "admit a 3");
  EXPECT_EQ(residency_.next_wakeup_ms(), 6000);
  EXPECT_NO_ACTIONS(residency_.tick(6000));
  EXPECT_NO_ACTIONS(residency_.add_request(4, "a", 6001, kFar)) << "a takes no more";
  EXPECT_NO_ACTIONS(residency_.end_request(1, 6002));
  EXPECT_ACTIONS(residency_.end_request(3, 6003), "unload a");
  EXPECT_ACTIONS(residency_.unloaded("a", 6004), "load b");
  EXPECT_ACTIONS(residency_.loaded("b", 6005), "admit b 2");
  EXPECT_ACTIONS(residency_.end_request(2, 7000), "unload b") << "request 4 is next";
}

TEST_F(OneDevice, WhoYieldedForAClientThatLeftGoesOn) {
  residency_.add_request(1, "a", 0, kFar);
  residency_.loaded("a", 0);
  residency_.add_request(2, "b", 0, kFar);
  residency_.tick(6000);
  EXPECT_NO_ACTIONS(residency_.add_request(3, "a", 6001, kFar));
  EXPECT_ACTIONS(residency_.end_request(2, 6002), "admit a 3");
}

TEST_F(OneDevice, HigherPriorityDoesNotYield) {
  ResidentModel model = model_of("a", {6});
  model.policy.priority = 1;
  residency_.set_model(model, 0);
  residency_.add_request(1, "a", 0, kFar);
  residency_.loaded("a", 0);
  residency_.add_request(2, "b", 0, 20'000);
  residency_.tick(10'000);
  EXPECT_ACTIONS(residency_.add_request(3, "a", 10'001, kFar), "admit a 3");
  EXPECT_ACTIONS(residency_.tick(20'000), "refuse b 2 deadline");
}

TEST_F(OneDevice, RemovedModelsRefuseAndGo) {
  residency_.add_request(1, "a", 0, kFar);
  EXPECT_ACTIONS(residency_.remove_model("a", 1), "refuse a 1 removed", "unload a");
  EXPECT_ACTIONS(residency_.add_request(2, "a", 2, kFar), "refuse a 2 removed");
  residency_.unloaded("a", 3);
  residency_.tick(4);
  EXPECT_FALSE(residency_.view("a"));
}

TEST(Residency, StartupModelsAreLoadedTogether) {
  Residency residency({12}, {});
  residency.set_model(model_of("a", {6}, false), 0);
  residency.set_model(model_of("b", {6}, false), 0);
  residency.set_model(model_of("c", {6}), 0);
  EXPECT_ACTIONS(residency.load_startup_models(0), "load a", "load b");
}

TEST(Victims, ExactChoiceIsTheCheapestThatSuffices) {
  const std::vector<Victim> candidates = {{{5}, 0, 3.0}, {{5}, 0, 3.0}, {{9}, 0, 5.0}, {{9}, 1, 1}};
  EXPECT_THAT(choose_victims(candidates, {4}), ElementsAre(0));
  EXPECT_THAT(choose_victims(candidates, {9}), ElementsAre(2));
  EXPECT_THAT(choose_victims(candidates, {18}), ElementsAre(0, 1, 2)) << "priority comes first";
  EXPECT_THAT(choose_victims(candidates, {29}), IsEmpty());
  EXPECT_THAT(choose_victims(candidates, {0}), IsEmpty());
}

TEST(Victims, ManyCandidatesAreEnoughAndNoneIsSuperfluous) {
  std::vector<Victim> candidates;
  for (int i = 0; i < 40; ++i) {
    candidates.push_back({{1 + i % 7, (i * 5) % 11}, i % 3, 1.0 + i % 4});
  }
  const std::vector<std::int64_t> missing = {40, 60};
  const auto sums = [&](const std::vector<std::size_t>& chosen) {
    std::vector<std::int64_t> sum(2, 0);
    for (const std::size_t i : chosen) {
      for (int pool = 0; pool < 2; ++pool) sum[pool] += candidates[i].bytes[pool];
    }
    return sum;
  };
  const auto chosen = choose_victims(candidates, missing);
  ASSERT_THAT(chosen, ::testing::Not(IsEmpty()));
  EXPECT_TRUE(sums(chosen)[0] >= 40 && sums(chosen)[1] >= 60);
  for (const std::size_t i : chosen) {
    auto without = chosen;
    std::erase(without, i);
    EXPECT_TRUE(sums(without)[0] < 40 || sums(without)[1] < 60) << i << " is superfluous";
  }
}

}  // namespace
}  // namespace tandem
