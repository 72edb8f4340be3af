#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/logit_picker.h"

namespace tandem {

// One sequence's next tokens in a step.
struct StepSequence {
  std::int32_t first_token = 0;           // index of its first token in the batch
  std::int32_t num_tokens = 0;            // 1 for a decode, more for a prefill chunk
  std::int32_t context_tokens = 0;        // positions in the cache once this step is done
  std::vector<std::int32_t> block_table;  // at least ceil(context_tokens / block_tokens) blocks
};

// What all ranks compute in one step: the next tokens of many sequences, prefill chunks beside
// decodes. A plain value; every rank reads the same one.
struct StepBatch {
  std::vector<std::int32_t> token_ids;  // [num_tokens]
  std::vector<std::int32_t> positions;  // [num_tokens], from 0 in each sequence
  // [num_tokens]: block * block_tokens + offset, where the token's keys and values go.
  std::vector<std::int64_t> slots;
  std::vector<StepSequence> sequences;    // in the order of their tokens, without gaps
  std::vector<std::int32_t> output_rows;  // tokens whose logits are wanted, ascending
  // For each of them how many of the best logits will do, up to ActivationSizes::kMostCandidates;
  // 0: all are wanted. Empty: all of all. A device in whose memory the host reads gives all.
  std::vector<std::int32_t> output_candidates;
  // What is done to logits of rows with candidates before the best are picked: `row` is an index of
  // output_rows, ascending, `column` a token.
  std::vector<LogitChange> logit_changes;
  // Of rows with candidates also the logarithm of the sum of the exponentials of all logits is
  // wanted, as they were before these changes.
  bool output_log_sums = false;
  std::vector<std::int32_t> hidden_rows;  // tokens whose final hidden states are wanted, ascending

  std::int32_t num_tokens() const { return static_cast<std::int32_t>(token_ids.size()); }
};

// Appends the tokens [context_tokens - ids.size(), context_tokens) of a sequence whose blocks are
// `block_table`. want_logits: of the last of them. Slots follow from the table.
void append_sequence(StepBatch& batch, const std::vector<std::int32_t>& ids,
                     std::int32_t context_tokens, const std::vector<std::int32_t>& block_table,
                     std::int32_t block_tokens, bool want_logits);

// Empty, or why the batch breaks a rule that ranks rely on (a bug of its maker): sizes, gaps,
// token ids outside the vocabulary, blocks outside the cache, slots that contradict the tables.
std::string find_fault(const StepBatch& batch, std::int64_t vocabulary_size,
                       std::int32_t num_blocks, std::int32_t block_tokens);

}  // namespace tandem
