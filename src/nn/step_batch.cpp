#include "nn/step_batch.h"

#include <fmt/format.h>

#include "base/check.h"
#include "model/activation_sizes.h"

namespace tandem {
namespace {

std::string find_sequence_fault(const StepBatch& batch, std::size_t index, std::int32_t num_blocks,
                                std::int32_t block_tokens) {
  const StepSequence& sequence = batch.sequences[index];
  const std::int32_t first_position = sequence.context_tokens - sequence.num_tokens;
  if (sequence.num_tokens < 1 || first_position < 0) {
    return fmt::format("sequence {}: {} tokens end at position {}", index, sequence.num_tokens,
                       sequence.context_tokens);
  }
  const auto needed = (sequence.context_tokens + block_tokens - 1) / block_tokens;
  if (sequence.block_table.size() < static_cast<std::size_t>(needed)) {
    return fmt::format("sequence {}: {} blocks for {} positions", index,
                       sequence.block_table.size(), sequence.context_tokens);
  }
  for (const std::int32_t block : sequence.block_table) {
    if (block < 0 || block >= num_blocks) {
      return fmt::format("sequence {}: block {} of {}", index, block, num_blocks);
    }
  }
  for (std::int32_t i = 0; i < sequence.num_tokens; ++i) {
    const auto token = static_cast<std::size_t>(sequence.first_token + i);
    const std::int32_t position = first_position + i;
    const auto block = static_cast<std::size_t>(position / block_tokens);
    const std::int64_t slot =
        std::int64_t{sequence.block_table[block]} * block_tokens + position % block_tokens;
    if (batch.positions[token] != position || batch.slots[token] != slot) {
      return fmt::format("token {}: position {} or slot {} contradict its sequence", token,
                         batch.positions[token], batch.slots[token]);
    }
  }
  return {};
}

std::string find_row_fault(const StepBatch& batch, const std::vector<std::int32_t>& rows,
                           std::string_view name) {
  std::int32_t last = -1;
  for (const std::int32_t row : rows) {
    if (row <= last || row >= batch.num_tokens()) return fmt::format("{} row {}", name, row);
    last = row;
  }
  return {};
}

std::string find_change_fault(const StepBatch& batch, std::int64_t vocabulary_size) {
  std::int32_t last = 0;
  for (const LogitChange& change : batch.logit_changes) {
    const auto row = static_cast<std::size_t>(change.row);
    const bool is_sound = change.row >= last && row < batch.output_candidates.size() &&
                          batch.output_candidates[row] > 0 && change.column >= 0 &&
                          change.column < vocabulary_size;
    if (!is_sound) return fmt::format("logit {} of output {} is changed", change.column, row);
    last = change.row;
  }
  return {};
}

}  // namespace

void append_sequence(StepBatch& batch, const std::vector<std::int32_t>& ids,
                     std::int32_t context_tokens, const std::vector<std::int32_t>& block_table,
                     std::int32_t block_tokens, bool want_logits) {
  const auto num_tokens = static_cast<std::int32_t>(ids.size());
  TANDEM_CHECK(num_tokens > 0 && num_tokens <= context_tokens, "a sequence without its tokens");
  StepSequence sequence;
  sequence.first_token = batch.num_tokens();
  sequence.num_tokens = num_tokens;
  sequence.context_tokens = context_tokens;
  sequence.block_table = block_table;
  for (std::int32_t i = 0; i < num_tokens; ++i) {
    const std::int32_t position = context_tokens - num_tokens + i;
    const auto block = static_cast<std::size_t>(position / block_tokens);
    TANDEM_CHECK(block < block_table.size(), "a block table that is too short");
    batch.token_ids.push_back(ids[static_cast<std::size_t>(i)]);
    batch.positions.push_back(position);
    batch.slots.push_back(std::int64_t{block_table[block]} * block_tokens +
                          position % block_tokens);
  }
  if (want_logits) batch.output_rows.push_back(batch.num_tokens() - 1);
  batch.sequences.push_back(std::move(sequence));
}

std::string find_fault(const StepBatch& batch, std::int64_t vocabulary_size,
                       std::int32_t num_blocks, std::int32_t block_tokens) {
  const std::size_t tokens = batch.token_ids.size();
  if (tokens == 0) return "no tokens";
  if (batch.positions.size() != tokens || batch.slots.size() != tokens) {
    return "positions or slots do not match the tokens";
  }
  for (const std::int32_t id : batch.token_ids) {
    if (id < 0 || id >= vocabulary_size) {
      return fmt::format("token id {} of a vocabulary of {}", id, vocabulary_size);
    }
  }
  std::int32_t next = 0;
  for (std::size_t i = 0; i < batch.sequences.size(); ++i) {
    if (batch.sequences[i].first_token != next) return fmt::format("sequence {}: a gap", i);
    next += batch.sequences[i].num_tokens;
    if (next > batch.num_tokens()) return fmt::format("sequence {}: more tokens than given", i);
    std::string fault = find_sequence_fault(batch, i, num_blocks, block_tokens);
    if (!fault.empty()) return fault;
  }
  if (next != batch.num_tokens()) return "tokens that belong to no sequence";
  const std::vector<std::int32_t>& candidates = batch.output_candidates;
  if (!candidates.empty() && candidates.size() != batch.output_rows.size()) {
    return "numbers of candidates do not match the output rows";
  }
  for (const std::int32_t count : candidates) {
    if (count < 0 || count > ActivationSizes::kMostCandidates) {
      return fmt::format("{} candidates", count);
    }
  }
  std::string fault = find_change_fault(batch, vocabulary_size);
  if (fault.empty()) fault = find_row_fault(batch, batch.output_rows, "output");
  return fault.empty() ? find_row_fault(batch, batch.hidden_rows, "hidden") : fault;
}

}  // namespace tandem
