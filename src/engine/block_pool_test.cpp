#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <random>

namespace tandem {
namespace {

using Tokens = std::vector<std::int32_t>;

TEST(BlockPool, GivesEveryBlockOnceAndThenNone) {
  BlockPool pool(3);
  std::vector<bool> seen(3, false);
  for (int i = 0; i < 3; ++i) {
    const auto block = pool.allocate();
    ASSERT_TRUE(block.has_value());
    EXPECT_FALSE(seen[static_cast<std::size_t>(*block)]);
    seen[static_cast<std::size_t>(*block)] = true;
  }
  EXPECT_FALSE(pool.allocate().has_value());
  EXPECT_EQ(pool.find_fault(), "");
}

TEST(BlockPool, SharesWhatIsKnownAndCountsItsOwners) {
  BlockPool pool(2);
  const BlockHasher hasher;
  const Tokens tokens = {1, 2, 3};
  const BlockKey key = hasher.next({}, tokens);
  const std::int32_t block = pool.allocate().value();
  EXPECT_FALSE(pool.share(key, tokens).has_value());
  pool.publish(block, key, tokens);
  EXPECT_EQ(pool.share(key, tokens), block);
  EXPECT_EQ(pool.num_references(block), 2);
  pool.release(block);
  pool.release(block);
  EXPECT_EQ(pool.num_cached(), 1);
  EXPECT_EQ(pool.look_up(key, tokens), BlockPool::Lookup::kCached);
  EXPECT_EQ(pool.share(key, tokens), block);
  EXPECT_EQ(pool.num_cached(), 0);
  EXPECT_EQ(pool.find_fault(), "");
}

TEST(BlockPool, AnEqualKeyWithOtherTokensIsNoMatch) {
  BlockPool pool(2);
  const BlockKey key{7, 7};
  pool.publish(pool.allocate().value(), key, Tokens{1, 2});
  EXPECT_FALSE(pool.share(key, Tokens{1, 3}).has_value());
}

TEST(BlockPool, ForgetsTheLongestUnusedFirst) {
  BlockPool pool(2);
  const BlockHasher hasher;
  const Tokens a = {1}, b = {2};
  const BlockKey key_a = hasher.next({}, a), key_b = hasher.next({}, b);
  const std::int32_t block_a = pool.allocate().value();
  const std::int32_t block_b = pool.allocate().value();
  pool.publish(block_a, key_a, a);
  pool.publish(block_b, key_b, b);
  pool.release(block_a);
  pool.release(block_b);
  pool.share(key_a, a);  // used again: now b is the oldest
  pool.release(block_a);
  EXPECT_EQ(pool.allocate(), block_b);
  EXPECT_EQ(pool.look_up(key_b, b), BlockPool::Lookup::kMissing);
  EXPECT_EQ(pool.look_up(key_a, a), BlockPool::Lookup::kCached);
  EXPECT_EQ(pool.find_fault(), "");
}

TEST(BlockPool, KeysDependOnWhatWentBefore) {
  const BlockHasher hasher;
  const Tokens a = {1, 2}, b = {2, 1};
  EXPECT_NE(hasher.next({}, a), hasher.next({}, b));
  EXPECT_NE(hasher.next(hasher.next({}, a), a), hasher.next(hasher.next({}, b), a));
  EXPECT_NE(hasher.next({}, a), BlockHasher().next({}, a)) << "each hasher has its own secret";
}

TEST(BlockPool, KeepsItsAccountsThroughRandomUse) {
  std::mt19937 random(7);
  BlockPool pool(16);
  const BlockHasher hasher;
  std::vector<std::int32_t> owned;
  for (int i = 0; i < 20'000; ++i) {
    const auto choice = random() % 5;
    const Tokens tokens = {static_cast<std::int32_t>(random() % 12)};
    const BlockKey key = hasher.next({}, tokens);
    if (choice == 0) {
      if (const auto block = pool.allocate()) owned.push_back(*block);
    } else if (choice == 1) {
      if (const auto block = pool.share(key, tokens)) owned.push_back(*block);
    } else if (choice == 2 && !owned.empty()) {
      pool.publish(owned[random() % owned.size()], key, tokens);
    } else if (!owned.empty() && choice >= 3) {
      const auto index = random() % owned.size();
      pool.release(owned[index]);
      owned.erase(owned.begin() + static_cast<std::ptrdiff_t>(index));
    }
    if (i == 10'000) pool.forget_contents();
    ASSERT_EQ(pool.find_fault(), "") << "after " << i;
  }
  for (const std::int32_t block : owned) pool.release(block);
  EXPECT_EQ(pool.num_available(), 16);
}

}  // namespace
}  // namespace tandem
