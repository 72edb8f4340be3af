#include "runtime/micro_batch.h"

#include <algorithm>

#include "base/check.h"

namespace tandem {
namespace {

// Tokens [begin, end) of the batch as a batch of their own.
StepBatch slice(const StepBatch& batch, std::int32_t begin, std::int32_t end) {
  StepBatch piece;
  piece.token_ids.assign(batch.token_ids.begin() + begin, batch.token_ids.begin() + end);
  piece.positions.assign(batch.positions.begin() + begin, batch.positions.begin() + end);
  piece.slots.assign(batch.slots.begin() + begin, batch.slots.begin() + end);
  for (const StepSequence& sequence : batch.sequences) {
    const std::int32_t first = std::max(sequence.first_token, begin);
    const std::int32_t last = std::min(sequence.first_token + sequence.num_tokens, end);
    if (first >= last) continue;
    StepSequence part;
    part.first_token = first - begin;
    part.num_tokens = last - first;
    const std::int32_t cut_off = sequence.first_token + sequence.num_tokens - last;
    part.context_tokens = sequence.context_tokens - cut_off;
    part.block_table = sequence.block_table;
    piece.sequences.push_back(std::move(part));
  }
  piece.output_log_sums = batch.output_log_sums;
  std::int32_t first_output = -1;
  for (std::size_t i = 0; i < batch.output_rows.size(); ++i) {
    const std::int32_t row = batch.output_rows[i];
    if (row < begin || row >= end) continue;
    if (first_output < 0) first_output = static_cast<std::int32_t>(i);
    piece.output_rows.push_back(row - begin);
    if (!batch.output_candidates.empty()) {
      piece.output_candidates.push_back(batch.output_candidates[i]);
    }
  }
  const auto num_outputs = static_cast<std::int32_t>(piece.output_rows.size());
  for (LogitChange change : batch.logit_changes) {
    change.row -= first_output;
    if (change.row >= 0 && change.row < num_outputs) piece.logit_changes.push_back(change);
  }
  for (const std::int32_t row : batch.hidden_rows) {
    if (row >= begin && row < end) piece.hidden_rows.push_back(row - begin);
  }
  return piece;
}

}  // namespace

std::vector<StepBatch> split_batch(const StepBatch& batch, std::int32_t max_tokens) {
  TANDEM_CHECK(max_tokens > 0, "micro-batches without tokens");
  std::vector<StepBatch> pieces;
  for (std::int32_t begin = 0; begin < batch.num_tokens(); begin += max_tokens) {
    pieces.push_back(slice(batch, begin, std::min(begin + max_tokens, batch.num_tokens())));
  }
  return pieces;
}

}  // namespace tandem
