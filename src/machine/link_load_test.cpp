#include "machine/link_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "machine/fake_cuda.h"

// The ladder of --load over a driver that is not there: see fake_cuda.h.

namespace tandem {
namespace {

using ::testing::HasSubstr;
using Fault = FakeCuda::Fault;

class LinkLoad : public ::testing::Test {
 protected:
  void SetUp() override { set(true, Fault::kNone); }
  static void set(bool grants, Fault fault, int cards = 2) {
    fake_cuda.grants = grants;
    fake_cuda.fault = fault;
    fake_cuda.cards = cards;
  }
  static Result<LoadResult> load(const std::function<void()>& while_busy = [] {}) {
    LoadOptions options;
    options.sizes = {1u << 20, 10007};  // no multiple of a block of threads
    options.step_seconds = 1.5;
    return load_links(fake_cuda_driver(), while_busy, options);
  }
  static PeerTrial only_trial() {
    const auto result = load();
    if (!result.ok() || result->trials.size() != 1) {
      ADD_FAILURE() << (result.ok() ? "trials" : result.error().to_string());
      return {};
    }
    return result->trials.front();
  }
};

TEST_F(LinkLoad, ClimbsTheWholeLadderWhileTheStateIsRead) {
  bool read = false;
  const auto result = load([&] { read = true; });
  ASSERT_TRUE(result.ok()) << result.error().to_string();
  EXPECT_TRUE(read);
  EXPECT_EQ(result->cut_short, "");
  ASSERT_EQ(result->trials.size(), 1U);
  const PeerTrial& trial = result->trials[0];
  EXPECT_EQ(trial.a.to_string(), "0000:41:00.0");
  EXPECT_EQ(trial.b.to_string(), "0000:61:00.0");
  EXPECT_TRUE(trial.granted);
  EXPECT_TRUE(trial.copied);
  EXPECT_TRUE(trial.summed) << trial.failure << trial.not_summed;
  EXPECT_EQ(trial.failure, "");
  EXPECT_GT(trial.gbps, 0);
}

TEST_F(LinkLoad, TriesEveryPair) {
  set(true, Fault::kNone, 4);
  const auto result = load();
  ASSERT_TRUE(result.ok()) << result.error().to_string();
  ASSERT_EQ(result->trials.size(), 6U);
  for (const PeerTrial& trial : result->trials) EXPECT_TRUE(trial.summed) << trial.failure;
}

// The fake ends a launch that reaches another card's memory without access: none may.
TEST_F(LinkLoad, WithoutAccessTheVectorsGoThroughHostMemory) {
  set(false, Fault::kNone);
  const PeerTrial trial = only_trial();
  EXPECT_FALSE(trial.granted);
  EXPECT_TRUE(trial.copied);
  EXPECT_TRUE(trial.summed) << trial.failure;
}

TEST_F(LinkLoad, OneWrongBitOfACopyIsSeen) {
  set(true, Fault::kCopiesChangeABit);
  const PeerTrial trial = only_trial();
  EXPECT_FALSE(trial.copied);
  EXPECT_FALSE(trial.summed);
  EXPECT_THAT(trial.failure, HasSubstr("direct copy 0000:41:00.0 -> 0000:61:00.0: 1 of 1048576"));
  EXPECT_THAT(trial.failure, HasSubstr("first at byte 524288"));
}

// Peer access that lies: granted, and copies arrive, but what kernels load across is not there.
TEST_F(LinkLoad, LoadsAcrossThatLieAreSeenInTheSums) {
  set(true, Fault::kRemoteLoadsAreZero);
  const PeerTrial trial = only_trial();
  EXPECT_TRUE(trial.granted);
  EXPECT_TRUE(trial.copied);
  EXPECT_FALSE(trial.summed);
  EXPECT_THAT(trial.failure, HasSubstr("direct reduction on 0000:41:00.0"));
  EXPECT_THAT(trial.failure, HasSubstr("10007 of 10007 sums are wrong, the first at 0"));
}

TEST_F(LinkLoad, StoresAcrossThatVanishAreSeenInTheSums) {
  set(true, Fault::kRemoteStoresVanish);
  const PeerTrial trial = only_trial();
  EXPECT_FALSE(trial.summed);
  // The half that the other card adds never arrives.
  EXPECT_THAT(trial.failure, HasSubstr("5004 of 10007 sums are wrong, the first at 5003"));
}

TEST_F(LinkLoad, AccessThatIsGrantedAndCannotBeEnabled) {
  set(true, Fault::kAccessCannotBeEnabled);
  const PeerTrial trial = only_trial();
  EXPECT_FALSE(trial.copied);
  EXPECT_THAT(trial.failure, HasSubstr("CUDA_ERROR_PEER_ACCESS_UNSUPPORTED"));
}

TEST_F(LinkLoad, ADriverThatRefusesTheKernelLeavesTheCopies) {
  set(true, Fault::kNoKernel);
  const PeerTrial trial = only_trial();
  EXPECT_TRUE(trial.copied);
  EXPECT_FALSE(trial.summed);
  EXPECT_EQ(trial.failure, "");
  EXPECT_THAT(trial.not_summed, HasSubstr("CUDA_ERROR_UNSUPPORTED_PTX_VERSION"));
}

TEST_F(LinkLoad, ACopyThatHangsIsAnAnswer) {
  set(true, Fault::kCopiesHang, 3);
  const auto start = std::chrono::steady_clock::now();
  const auto result = load();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(result.ok()) << result.error().to_string();
  EXPECT_LT(seconds.count(), 20);
  ASSERT_EQ(result->trials.size(), 1U);
  EXPECT_EQ(result->trials[0].b.to_string(), "0000:61:00.0");
  EXPECT_TRUE(result->trials[0].granted);
  EXPECT_THAT(result->trials[0].failure, HasSubstr("direct copy"));
  EXPECT_THAT(result->cut_short, HasSubstr("no answer within 1.5 s"));
}

TEST_F(LinkLoad, ADriverThatCrashesIsAnAnswer) {
  set(false, Fault::kCopiesCrash);
  const auto result = load();
  ASSERT_TRUE(result.ok()) << result.error().to_string();
  ASSERT_EQ(result->trials.size(), 1U);
  EXPECT_FALSE(result->trials[0].granted);
  EXPECT_THAT(result->trials[0].failure, HasSubstr("signal 6"));
}

TEST_F(LinkLoad, ACardWithoutMemoryIsAnError) {
  set(true, Fault::kNoMemory);
  const auto result = load();
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().to_string(), HasSubstr("cuMemAlloc"));
  EXPECT_THAT(result.error().to_string(), HasSubstr("CUDA_ERROR_OUT_OF_MEMORY"));
}

}  // namespace
}  // namespace tandem
