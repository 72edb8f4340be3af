#include "nn/step_batch.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace tandem {
namespace {

constexpr std::int32_t kBlockTokens = 4;
constexpr std::int32_t kNumBlocks = 8;
constexpr std::int64_t kVocabulary = 100;

// A prefill chunk (positions 2..6 of a sequence in blocks 5, 0) beside a decode (position 8 of one
// in blocks 3, 7, 1).
StepBatch two_sequences() {
  StepBatch batch;
  append_sequence(batch, {10, 11, 12, 13, 14}, 7, {5, 0}, kBlockTokens, false);
  append_sequence(batch, {20}, 9, {3, 7, 1}, kBlockTokens, true);
  return batch;
}

std::string fault_of(const StepBatch& batch) {
  return find_fault(batch, kVocabulary, kNumBlocks, kBlockTokens);
}

TEST(StepBatch, AppendDerivesPositionsAndSlots) {
  const StepBatch batch = two_sequences();
  EXPECT_EQ(batch.token_ids, (std::vector<std::int32_t>{10, 11, 12, 13, 14, 20}));
  EXPECT_EQ(batch.positions, (std::vector<std::int32_t>{2, 3, 4, 5, 6, 8}));
  EXPECT_EQ(batch.slots, (std::vector<std::int64_t>{22, 23, 0, 1, 2, 4}));
  EXPECT_EQ(batch.output_rows, std::vector<std::int32_t>{5});
  ASSERT_EQ(batch.sequences.size(), 2u);
  EXPECT_EQ(batch.sequences[1].first_token, 5);
  EXPECT_EQ(batch.sequences[1].num_tokens, 1);
  EXPECT_EQ(batch.sequences[1].context_tokens, 9);
  EXPECT_EQ(fault_of(batch), "");
}

TEST(StepBatch, ATableMayBeLongerThanNeeded) {
  StepBatch batch;
  append_sequence(batch, {1}, 1, {2, 3, 4}, kBlockTokens, true);
  EXPECT_EQ(fault_of(batch), "");
}

struct Breach {
  const char* rule;
  std::function<void(StepBatch&)> breach;
  const char* said;
};

class StepBatchFault : public testing::TestWithParam<Breach> {};

TEST_P(StepBatchFault, IsFoundAndNamed) {
  StepBatch batch = two_sequences();
  GetParam().breach(batch);
  EXPECT_NE(fault_of(batch).find(GetParam().said), std::string::npos) << fault_of(batch);
}

const Breach kBreaches[] = {
    {"NoTokens", [](StepBatch& b) { b = {}; }, "no tokens"},
    {"PositionsShort", [](StepBatch& b) { b.positions.pop_back(); }, "do not match"},
    {"SlotsShort", [](StepBatch& b) { b.slots.pop_back(); }, "do not match"},
    {"IdNegative", [](StepBatch& b) { b.token_ids[1] = -1; }, "token id -1"},
    {"IdPastVocabulary", [](StepBatch& b) { b.token_ids[1] = 100; }, "token id 100"},
    {"Gap", [](StepBatch& b) { b.sequences[1].first_token = 4; }, "sequence 1: a gap"},
    {"TooManyTokens", [](StepBatch& b) { b.sequences[1].num_tokens = 2; }, "more tokens"},
    {"NoTokensOfASequence", [](StepBatch& b) { b.sequences[0].num_tokens = 0; }, "0 tokens end"},
    {"NegativeCount", [](StepBatch& b) { b.sequences[0].num_tokens = -3; }, "-3 tokens end"},
    {"BeforeTheStart", [](StepBatch& b) { b.sequences[0].context_tokens = 4; }, "end at position"},
    {"TableShort", [](StepBatch& b) { b.sequences[1].block_table.pop_back(); }, "2 blocks for 9"},
    {"BlockNegative", [](StepBatch& b) { b.sequences[0].block_table[0] = -1; }, "block -1"},
    {"BlockPastCache", [](StepBatch& b) { b.sequences[0].block_table[1] = 8; }, "block 8 of 8"},
    {"WrongPosition", [](StepBatch& b) { b.positions[3] = 4; }, "token 3"},
    {"WrongSlot", [](StepBatch& b) { b.slots[5] = 5; }, "token 5"},
    {"TokenOfNone", [](StepBatch& b) { b.sequences.pop_back(); }, "belong to no sequence"},
    {"RowPastEnd", [](StepBatch& b) { b.output_rows[0] = 6; }, "output row 6"},
    {"CandidatesOfOtherRows", [](StepBatch& b) { b.output_candidates = {1, 1, 1, 1, 1, 1, 1}; },
     "do not match the output rows"},
    {"TooManyCandidates",
     [](StepBatch& b) { b.output_candidates.assign(b.output_rows.size(), 65); }, "65 candidates"},
    {"ChangeWithoutCandidates",
     [](StepBatch& b) {
       b.logit_changes = {{0, 3}};
     },
     "logit 3 of output 0"},
    {"ChangePastVocabulary",
     [](StepBatch& b) {
       b.output_candidates.assign(b.output_rows.size(), 1);
       b.logit_changes = {{0, 3}, {0, 100}};
     },
     "logit 100 of output 0"},
    {"RowNegative", [](StepBatch& b) { b.output_rows[0] = -1; }, "output row -1"},
    {"RowTwice",
     [](StepBatch& b) {
       b.output_rows = {3, 3};
     },
     "output row 3"},
    {"RowsDescend",
     [](StepBatch& b) {
       b.output_rows = {4, 2};
     },
     "output row 2"},
};

INSTANTIATE_TEST_SUITE_P(Rules, StepBatchFault, testing::ValuesIn(kBreaches),
                         [](const auto& param) { return std::string(param.param.rule); });

}  // namespace
}  // namespace tandem
