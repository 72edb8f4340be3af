#include "runtime/micro_batch.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

constexpr std::int32_t kBlockTokens = 4;
constexpr std::int32_t kNumBlocks = 16;

// 7 + 1 + 5 tokens: a chunk from position 3, a decode, a prompt from its start.
StepBatch mixed() {
  StepBatch batch;
  append_sequence(batch, {1, 2, 3, 4, 5, 6, 7}, 10, {9, 2, 5}, kBlockTokens, true);
  append_sequence(batch, {8}, 6, {1, 0}, kBlockTokens, true);
  append_sequence(batch, {9, 10, 11, 12, 13}, 5, {4, 11}, kBlockTokens, false);
  batch.output_rows.insert(batch.output_rows.begin(), 2);  // 2, 6, 7
  batch.output_candidates = {4, 0, 2};
  batch.logit_changes = {{0, 3}, {2, 4}, {2, 6}};
  batch.output_log_sums = true;
  batch.hidden_rows = {0, 4, 5, 12};
  return batch;
}

TEST(SplitBatch, CutsASequenceWithItsContext) {
  const auto pieces = split_batch(mixed(), 5);
  ASSERT_EQ(pieces.size(), 3u);
  ASSERT_EQ(pieces[0].sequences.size(), 1u);
  EXPECT_EQ(pieces[0].sequences[0].num_tokens, 5);
  EXPECT_EQ(pieces[0].sequences[0].context_tokens, 8);
  EXPECT_EQ(pieces[0].sequences[0].block_table, (std::vector<std::int32_t>{9, 2, 5}));
  EXPECT_EQ(pieces[0].output_rows, std::vector<std::int32_t>{2});
  EXPECT_EQ(pieces[0].hidden_rows, (std::vector<std::int32_t>{0, 4}));
  EXPECT_EQ(pieces[1].hidden_rows, std::vector<std::int32_t>{0});
  EXPECT_EQ(pieces[2].hidden_rows, std::vector<std::int32_t>{2});

  ASSERT_EQ(pieces[1].sequences.size(), 3u);
  EXPECT_EQ(pieces[1].sequences[0].num_tokens, 2);
  EXPECT_EQ(pieces[1].sequences[0].context_tokens, 10);
  EXPECT_EQ(pieces[1].sequences[1].first_token, 2);
  EXPECT_EQ(pieces[1].sequences[1].context_tokens, 6);
  EXPECT_EQ(pieces[1].sequences[2].first_token, 3);
  EXPECT_EQ(pieces[1].sequences[2].num_tokens, 2);
  EXPECT_EQ(pieces[1].sequences[2].context_tokens, 2);
  EXPECT_EQ(pieces[0].output_candidates, std::vector<std::int32_t>{4});
  EXPECT_EQ(pieces[1].output_rows, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(pieces[1].output_candidates, (std::vector<std::int32_t>{0, 2}));
  ASSERT_EQ(pieces[0].logit_changes.size(), 1u);
  EXPECT_EQ(pieces[0].logit_changes[0].row, 0);
  ASSERT_EQ(pieces[1].logit_changes.size(), 2u);
  EXPECT_EQ(pieces[1].logit_changes[1].row, 1);
  EXPECT_EQ(pieces[1].logit_changes[1].column, 6);
  EXPECT_TRUE(pieces[2].logit_changes.empty());
  EXPECT_TRUE(pieces[1].output_log_sums);

  ASSERT_EQ(pieces[2].sequences.size(), 1u);
  EXPECT_EQ(pieces[2].sequences[0].context_tokens, 5);
  EXPECT_EQ(pieces[2].sequences[0].block_table, (std::vector<std::int32_t>{4, 11}));
  EXPECT_TRUE(pieces[2].output_rows.empty());
}

TEST(SplitBatch, PiecesKeepTheRulesAndAllTokensForEverySize) {
  const StepBatch whole = mixed();
  ASSERT_EQ(find_fault(whole, 20, kNumBlocks, kBlockTokens), "");
  for (std::int32_t size = 1; size <= 14; ++size) {
    StepBatch joined;
    for (const StepBatch& piece : split_batch(whole, size)) {
      EXPECT_LE(piece.num_tokens(), size);
      EXPECT_EQ(find_fault(piece, 20, kNumBlocks, kBlockTokens), "") << "pieces of " << size;
      for (const std::int32_t row : piece.output_rows) {
        joined.output_rows.push_back(joined.num_tokens() + row);
      }
      const auto append = [](auto& to, const auto& from) {
        to.insert(to.end(), from.begin(), from.end());
      };
      append(joined.token_ids, piece.token_ids);
      append(joined.positions, piece.positions);
      append(joined.slots, piece.slots);
    }
    EXPECT_EQ(joined.token_ids, whole.token_ids);
    EXPECT_EQ(joined.positions, whole.positions);
    EXPECT_EQ(joined.slots, whole.slots);
    EXPECT_EQ(joined.output_rows, whole.output_rows);
  }
}

}  // namespace
}  // namespace tandem
