#include "fleet/traffic.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

class TestBackend : public Backend {
 public:
  explicit TestBackend(std::string name) : name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  bool is_ready() const override { return ready; }
  std::shared_ptr<UpstreamClient> client() const override { return nullptr; }
  std::string remote_model(const std::string& model) const override { return model; }
  BackendStatus status() const override { return {}; }
  bool ready = true;

 private:
  std::string name_;
};

// A request for `m` that asks for 100 tokens.
Demand demand_of(std::int64_t prompt_tokens) {
  Demand demand;
  demand.model = "m";
  demand.prompt_tokens = prompt_tokens;
  demand.max_tokens = 100;
  return demand;
}

class TrafficControlTest : public testing::Test {
 protected:
  void SetUp() override {
    config_.breaker = {.failures = 3, .window_ms = 10'000, .open_ms = 1'000};
    traffic_.configure(config_, 0);
  }
  void configure(KeyConfig key) {
    key.name = "k";
    config_.keys = {std::move(key)};
    traffic_.configure(config_, 0);
    demand_.key = "k";
  }
  std::string choose(std::int64_t max_running = 0, std::int64_t now_ms = 0) {
    const auto chosen = traffic_.choose(demand_, backends_, max_running, now_ms);
    return chosen.backend ? chosen.backend->name() : "nobody";
  }

  FleetConfig config_;
  TrafficControl traffic_;
  std::shared_ptr<TestBackend> a_ = std::make_shared<TestBackend>("a");
  std::shared_ptr<TestBackend> b_ = std::make_shared<TestBackend>("b");
  std::vector<std::shared_ptr<Backend>> backends_ = {a_, b_};
  Demand demand_ = demand_of(100);
};

TEST_F(TrafficControlTest, GoesWhereTheLeastWorkWaits) {
  traffic_.began("a", demand_, 0);
  EXPECT_EQ(choose(), "b");
  Demand large = demand_;
  large.prompt_tokens = 5000;
  TrafficControl::Work work = traffic_.began("b", large, 0);
  EXPECT_EQ(choose(), "a");
  traffic_.worked_off("b", work.tokens - 10);
  EXPECT_EQ(choose(), "b");
  work.tokens = 10;
  traffic_.ended("b", large, work, 0, LeaseEnd::kAnswered, 0);
  EXPECT_EQ(choose(), "b");
}

TEST_F(TrafficControlTest, PrefersWhoKnowsThePromptUnlessItHasTooMuchToDo) {
  demand_.prefix = {1, 2, 3, 4};  // 2 KiB: 512 tokens saved
  traffic_.ended("b", demand_, traffic_.began("b", demand_, 0), 0, LeaseEnd::kAnswered, 0);
  EXPECT_EQ(choose(), "b");
  demand_.prefix = {9};
  EXPECT_EQ(choose(), "a");
  demand_.prefix = {1, 2, 3, 4, 5};
  const Demand other = demand_of(300);
  traffic_.began("b", other, 0);
  EXPECT_EQ(choose(), "b");  // 400 tokens wait, 512 are saved
  traffic_.began("b", other, 0);
  EXPECT_EQ(choose(), "a");
}

TEST_F(TrafficControlTest, LeavesOutWhoIsNotReadyFullOrHasFailedTheRequest) {
  a_->ready = false;
  EXPECT_EQ(choose(), "b");
  demand_.tried = {"b"};
  EXPECT_EQ(choose(), "nobody");
  EXPECT_FALSE(traffic_.choose(demand_, backends_, 0, 0).all_tried);
  demand_.tried = {"a", "b"};
  EXPECT_TRUE(traffic_.choose(demand_, backends_, 0, 0).all_tried);
  demand_.tried.clear();
  b_->begin_request();
  EXPECT_EQ(choose(1), "nobody");
  EXPECT_EQ(choose(2), "b");
}

TEST_F(TrafficControlTest, AFailingBackendIsLeftAloneAndTriedByOne) {
  backends_ = {a_};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(choose(0, i), "a");
    traffic_.ended("a", demand_, traffic_.began("a", demand_, i), 0, LeaseEnd::kFailed, i);
  }
  // As long as there is another, it is left alone for all of open_ms.
  backends_ = {a_, b_};
  traffic_.began("b", demand_of(5000), 3);
  EXPECT_EQ(choose(0, 1001), "b");
  EXPECT_EQ(choose(0, 1002), "a");
  TrafficControl::Work work = traffic_.began("a", demand_, 1002);
  EXPECT_EQ(choose(0, 1003), "b");  // one tries for all
  traffic_.ended("a", demand_, work, 0, LeaseEnd::kFailed, 1010);
  EXPECT_EQ(choose(0, 2009), "b");
  EXPECT_EQ(choose(0, 2010), "a");
  traffic_.ended("a", demand_, traffic_.began("a", demand_, 2010), 0, LeaseEnd::kAnswered, 2020);
  EXPECT_EQ(choose(0, 2021), "a");
}

TEST_F(TrafficControlTest, TheOnlyBackendIsTriedSoonerAndEverLessOften) {
  backends_ = {a_};
  for (int i = 0; i < 3; ++i) {
    traffic_.ended("a", demand_, traffic_.began("a", demand_, 0), 0, LeaseEnd::kFailed, 0);
  }
  std::int64_t at_ms = 0;
  for (const std::int64_t wait_ms : {250, 500, 1000, 1000}) {
    const auto before = traffic_.choose(demand_, backends_, 0, at_ms + wait_ms - 1);
    EXPECT_EQ(before.backend, nullptr) << at_ms;
    EXPECT_TRUE(before.all_broken);
    EXPECT_EQ(before.next_try_in_ms, 1);
    at_ms += wait_ms;
    EXPECT_EQ(choose(0, at_ms), "a");
    const TrafficControl::Work work = traffic_.began("a", demand_, at_ms);
    EXPECT_EQ(choose(0, at_ms + 5), "nobody");
    EXPECT_EQ(traffic_.choose(demand_, backends_, 0, at_ms + 5).next_try_in_ms, 5);
    traffic_.ended("a", demand_, work, 0, LeaseEnd::kFailed, at_ms += 10);
  }
  at_ms += 1000;
  traffic_.ended("a", demand_, traffic_.began("a", demand_, at_ms), 0, LeaseEnd::kAnswered, at_ms);
  EXPECT_EQ(choose(0, at_ms), "a");
}

TEST_F(TrafficControlTest, ABackendThatIsNotThereIsNoOtherToTurnTo) {
  for (int i = 0; i < 3; ++i) {
    traffic_.ended("a", demand_, traffic_.began("a", demand_, 0), 0, LeaseEnd::kFailed, 0);
  }
  b_->begin_request();
  EXPECT_EQ(choose(1, 300), "nobody") << "b is full: wait for it";
  b_->end_request(LeaseEnd::kAnswered);
  b_->ready = false;
  EXPECT_EQ(choose(0, 300), "a");
}

TEST_F(TrafficControlTest, WhatBeganBeforeTheBreakerOpenedSaysNothingAboutNow) {
  backends_ = {a_};
  const auto early = traffic_.began("a", demand_, 0);
  const auto another = traffic_.began("a", demand_, 0);
  const auto late = traffic_.began("a", demand_, 0);
  for (int i = 0; i < 3; ++i) {
    traffic_.ended("a", demand_, traffic_.began("a", demand_, i), 0, LeaseEnd::kFailed, i);
  }
  EXPECT_EQ(choose(0, 200), "nobody");
  const auto trial = traffic_.began("a", demand_, 1100);
  // While one tries: an old success closes nothing, an old client's going lets no second one try,
  // and an old failure keeps nothing open.
  traffic_.ended("a", demand_, early, 0, LeaseEnd::kAnswered, 1110);
  EXPECT_EQ(choose(0, 1111), "nobody");
  traffic_.ended("a", demand_, another, 0, LeaseEnd::kCancelled, 1120);
  EXPECT_EQ(choose(0, 1121), "nobody");
  traffic_.ended("a", demand_, late, 0, LeaseEnd::kFailed, 1130);
  traffic_.ended("a", demand_, trial, 0, LeaseEnd::kAnswered, 1140);
  EXPECT_EQ(choose(0, 1141), "a");
}

TEST_F(TrafficControlTest, AClientsGoingSaysNothingAboutTheBackend) {
  backends_ = {a_};
  for (int i = 0; i < 10; ++i) {
    traffic_.ended("a", demand_, traffic_.began("a", demand_, 0), 0, LeaseEnd::kCancelled, 0);
  }
  EXPECT_EQ(choose(), "a");
  for (int i = 0; i < 3; ++i) {
    traffic_.ended("a", demand_, traffic_.began("a", demand_, 0), 0, LeaseEnd::kTimedOut, 0);
  }
  EXPECT_EQ(choose(0, 249), "nobody");
  // The one that tries leaves: another may.
  traffic_.ended("a", demand_, traffic_.began("a", demand_, 1000), 0, LeaseEnd::kCancelled, 1001);
  EXPECT_EQ(choose(0, 1002), "a");
}

TEST_F(TrafficControlTest, HalfOfManyRequestsIsTooMuchAsWell) {
  backends_ = {a_};
  for (int i = 0; i < 10; ++i) {
    const LeaseEnd end = i % 2 == 0 ? LeaseEnd::kFailed : LeaseEnd::kAnswered;
    traffic_.ended("a", demand_, traffic_.began("a", demand_, i), 0, end, i);
    if (traffic_.choose(demand_, backends_, 0, i).backend == nullptr) return;
  }
  FAIL() << "five of ten failed";
}

TEST_F(TrafficControlTest, AKeysRequestsAMinuteRunOutAndComeBack) {
  KeyConfig key;
  key.requests_per_minute = 2;
  configure(key);
  EXPECT_FALSE(traffic_.admit(demand_, 0));
  EXPECT_FALSE(traffic_.admit(demand_, 0));
  const auto refused = traffic_.admit(demand_, 0);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ(refused->retry_after_s, 30);
  demand_.tried = {"a"};
  EXPECT_FALSE(traffic_.admit(demand_, 0));  // another try is no other request
  demand_.tried.clear();
  EXPECT_FALSE(traffic_.admit(demand_, 30'000));
  EXPECT_TRUE(traffic_.admit(demand_, 30'000));
  demand_.key = "another";
  EXPECT_FALSE(traffic_.admit(demand_, 30'000));
}

TEST_F(TrafficControlTest, AKeysTokensCountPromptsAndAnswers) {
  KeyConfig key;
  key.tokens_per_minute = 120;
  configure(key);
  EXPECT_FALSE(traffic_.admit(demand_, 0));
  EXPECT_FALSE(traffic_.admit(demand_, 0));  // 20 were left
  EXPECT_TRUE(traffic_.admit(demand_, 0));
  EXPECT_TRUE(traffic_.admit(demand_, 40'000));
  EXPECT_FALSE(traffic_.admit(demand_, 41'000));
  traffic_.ended("a", demand_, traffic_.began("a", demand_, 0), 1000, LeaseEnd::kAnswered, 0);
  EXPECT_TRUE(traffic_.admit(demand_, 41'000));
}

TEST_F(TrafficControlTest, AKeyHasSoManyAtWorkAndWaiting) {
  KeyConfig key;
  key.max_concurrent = 1;
  key.max_queued = 1;
  configure(key);
  EXPECT_FALSE(traffic_.admit(demand_, 0));
  EXPECT_EQ(choose(), "a");
  TrafficControl::Work work = traffic_.began("a", demand_, 0);
  EXPECT_EQ(choose(), "nobody");
  EXPECT_FALSE(traffic_.admit(demand_, 0));  // waits
  EXPECT_TRUE(traffic_.admit(demand_, 0));
  traffic_.gave_up(demand_);
  EXPECT_FALSE(traffic_.admit(demand_, 0));
  traffic_.ended("a", demand_, work, 0, LeaseEnd::kAnswered, 0);
  EXPECT_EQ(choose(), "a");
}

}  // namespace
}  // namespace tandem
