#include "engine/scheduler.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/checked.h"

namespace tandem {
namespace {

SchedulerOptions checked(SchedulerOptions options) {
  TANDEM_CHECK(options.num_blocks > 0 && options.block_tokens > 0, "a KV cache without room");
  TANDEM_CHECK(options.max_batch_tokens > 0 && options.max_in_flight > 0, "steps without tokens");
  // A quarter of every step is left to prompts, however many sequences decode.
  const std::int32_t most = std::max(1, options.max_batch_tokens * 3 / 4);
  options.max_sequences = std::clamp(options.max_sequences, 1, most);
  return options;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(checked(options)),
      pool_(options_.num_blocks),
      pace_(options_.max_batch_tokens, options_.max_decode_slowdown) {}

void Scheduler::add(Sequence& sequence) {
  TANDEM_CHECK(!sequence.tokens.empty() && sequence.num_tokens() <= max_tokens(),
               "a sequence that can never run");
  const bool is_new = waiting_.emplace(sequence.arrival, &sequence).second;
  TANDEM_CHECK(is_new && !running_.contains(sequence.arrival), "a sequence was added twice");
}

void Scheduler::remove(Sequence& sequence) {
  TANDEM_CHECK(!sequence.in_flight, "removed a sequence that the ranks are working on");
  give_back(sequence);
  running_.erase(sequence.arrival);
  waiting_.erase(sequence.arrival);
}

ScheduledStep Scheduler::schedule() {
  admit();
  ScheduledStep step;
  add_decodes(step);
  add_prefills(step);
  return step;
}

void Scheduler::admit() {
  while (!waiting_.empty() && num_running() < options_.max_sequences) {
    Sequence& sequence = *waiting_.begin()->second;
    const Prefix prefix = find_prefix(sequence);
    if (!has_room_for(sequence, prefix)) return;
    take_blocks(sequence, prefix);
    waiting_.erase(waiting_.begin());
    running_.emplace(sequence.arrival, &sequence);
  }
}

Scheduler::Prefix Scheduler::find_prefix(const Sequence& sequence) const {
  Prefix prefix;
  if (!options_.prefix_cache || !sequence.may_share) return prefix;
  // One token at least is computed: the next one's logits come from it.
  const std::int32_t most = (sequence.num_tokens() - 1) / options_.block_tokens;
  BlockKey key;
  for (std::int32_t i = 0; i < most; ++i) {
    const auto tokens = tokens_of_block(sequence, i);
    key = hasher_.next(key, tokens);
    const BlockPool::Lookup found = pool_.look_up(key, tokens);
    if (found == BlockPool::Lookup::kMissing) break;
    prefix.keys.push_back(key);
    if (found == BlockPool::Lookup::kCached) ++prefix.num_revived;
  }
  return prefix;
}

// Room for the whole sequence and for one more block of everyone who runs: who is admitted should
// not be sent back by the next step.
bool Scheduler::has_room_for(const Sequence& sequence, const Prefix& prefix) const {
  const std::int32_t blocks = ceil_div(sequence.num_tokens(), options_.block_tokens);
  const std::int32_t own = blocks - static_cast<std::int32_t>(prefix.keys.size());
  return own + prefix.num_revived + num_running() <= pool_.num_available();
}

// All that its tokens need, so that a prompt that comes in never has to wait for blocks.
void Scheduler::take_blocks(Sequence& sequence, const Prefix& prefix) {
  for (const BlockKey& key : prefix.keys) {
    const auto index = static_cast<std::int32_t>(sequence.blocks.size());
    const auto block = pool_.share(key, tokens_of_block(sequence, index));
    TANDEM_CHECK(block.has_value(), "a block of the prefix vanished");
    sequence.blocks.push_back(*block);
    sequence.last_key = key;
  }
  const bool has_all = grow(sequence, sequence.num_tokens());
  TANDEM_CHECK(has_all, "admitted a sequence without room for it");
  sequence.num_published = static_cast<std::int32_t>(prefix.keys.size());
  sequence.num_computed = sequence.num_published * options_.block_tokens;
  if (!sequence.was_admitted) sequence.num_cached_tokens = sequence.num_computed;
  sequence.was_admitted = true;
}

void Scheduler::add_decodes(ScheduledStep& step) {
  // Under a pipeline each step takes its share alone, so that every stage has one to work on.
  const std::int32_t most = ceil_div(num_running(), options_.max_in_flight);
  std::int32_t spare_rows = options_.max_output_rows - options_.max_sequences;
  std::vector<Sequence*> ready;
  for (const auto& [arrival, sequence] : running_) {
    if (!sequence->in_flight && sequence->num_remaining() == 1) ready.push_back(sequence);
  }
  for (Sequence* sequence : ready) {
    if (step.num_decodes >= most) return;
    // An earlier one may have sent it back to the queue.
    if (!running_.contains(sequence->arrival)) continue;
    if (!grow(*sequence, sequence->num_tokens())) continue;
    const std::int32_t room = options_.max_batch_tokens - step.batch->num_tokens();
    if (room == 0) return;
    const auto drafts = static_cast<std::int32_t>(sequence->drafts.size());
    const std::int32_t affordable = std::clamp(std::min(room - 1, spare_rows), 0, drafts);
    add_to(step, *sequence, 1, affordable);
    spare_rows -= step.sequences.back().num_drafts;
    ++step.num_decodes;
  }
}

bool Scheduler::somebody_decodes() const {
  return std::ranges::any_of(running_,
                             [](const auto& entry) { return entry.second->num_remaining() == 1; });
}

void Scheduler::add_prefills(ScheduledStep& step) {
  std::vector<Sequence*> ready;
  for (const auto& [arrival, sequence] : running_) {
    if (!sequence->in_flight && sequence->num_remaining() > 1) ready.push_back(sequence);
  }
  const std::int32_t room = options_.max_batch_tokens - step.batch->num_tokens();
  // Drafts cost a step as much as prompt tokens.
  const std::int32_t num_drafts = step.batch->num_tokens() - step.num_decodes;
  std::int32_t budget =
      somebody_decodes() ? pace_.tokens_beside(step.num_decodes) - num_drafts : room;
  budget = std::clamp(budget, 1, std::max(room, 1));
  const auto take = [&](Sequence& sequence, std::int32_t part) {
    const std::int32_t most =
        std::min(budget, options_.max_batch_tokens - step.batch->num_tokens());
    const std::int32_t num_tokens = std::min({part, most, sequence.num_remaining()});
    if (num_tokens < 1) return;
    add_to(step, sequence, num_tokens, 0);
    budget -= num_tokens;
    step.num_prefill_tokens += num_tokens;
  };
  // Half is for the earliest, so that none waits for ever, however many short ones come. The rest
  // is cut into equal parts, the shortest first: what it leaves goes to the others. Short prompts
  // pass long ones, and long ones are not held up by more than their number.
  if (const auto first = std::ranges::min_element(ready, {}, &Sequence::arrival);
      first != ready.end()) {
    take(**first, ceil_div(budget, ready.size() > 1 ? 2 : 1));
    ready.erase(first);
  }
  std::ranges::stable_sort(ready, {},
                           [](const Sequence* sequence) { return sequence->num_remaining(); });
  auto num_left = static_cast<std::int32_t>(ready.size());
  for (Sequence* sequence : ready) take(*sequence, std::max(1, budget / num_left--));
}

void Scheduler::add_to(ScheduledStep& step, Sequence& sequence, std::int32_t num_tokens,
                       std::int32_t num_drafts) {
  const std::int32_t first = sequence.num_computed;
  const std::int32_t context = first + num_tokens;
  // Drafts may fill the last block, but are not worth another one.
  const auto held = static_cast<std::int32_t>(sequence.blocks.size()) * options_.block_tokens;
  num_drafts = std::min(num_drafts, held - context);

  std::vector<std::int32_t> ids(sequence.tokens.begin() + first, sequence.tokens.begin() + context);
  ids.insert(ids.end(), sequence.drafts.begin(), sequence.drafts.begin() + num_drafts);
  ScheduledSequence scheduled;
  scheduled.sequence = &sequence;
  scheduled.num_tokens = num_tokens + num_drafts;
  scheduled.num_drafts = num_drafts;
  StepBatch& batch = *step.batch;
  append_sequence(batch, ids, context + num_drafts, sequence.blocks, options_.block_tokens, false);
  if (sequence.pooling != Pooling::kNone) {
    add_hidden_rows(batch, scheduled);
  } else if (context == sequence.num_tokens()) {
    scheduled.first_row = static_cast<std::int32_t>(batch.output_rows.size());
    for (std::int32_t row = num_drafts; row >= 0; --row) {
      batch.output_rows.push_back(batch.num_tokens() - 1 - row);
      batch.output_candidates.push_back(sequence.num_candidates);
      add_picking(batch, sequence, num_drafts - row);
    }
  }
  sequence.in_flight = true;
  step.sequences.push_back(scheduled);
}

// What the row just added needs besides the number of its candidates: it stands behind the first
// `num_ahead` drafts.
void Scheduler::add_picking(StepBatch& batch, const Sequence& sequence, std::int32_t num_ahead) {
  if (sequence.num_candidates == 0) return;
  batch.output_log_sums = batch.output_log_sums || sequence.wants_log_sum;
  if (!sequence.add_changes) return;
  const auto row = static_cast<std::int32_t>(batch.output_rows.size()) - 1;
  const std::span<const std::int32_t> drafts(sequence.drafts);
  sequence.add_changes(drafts.first(static_cast<std::size_t>(num_ahead)), row, batch.logit_changes);
}

// The hidden states that the sequence's pooling needs of this chunk, the batch's last tokens.
void Scheduler::add_hidden_rows(StepBatch& batch, ScheduledSequence& scheduled) {
  const Sequence& sequence = *scheduled.sequence;
  const std::int32_t end = batch.num_tokens();
  const std::int32_t begin = end - scheduled.num_tokens;
  const bool is_first = sequence.num_computed == 0;
  const bool is_last = sequence.num_remaining() == scheduled.num_tokens;
  scheduled.first_hidden_row = static_cast<std::int32_t>(batch.hidden_rows.size());
  for (std::int32_t row = begin; row < end; ++row) {
    const bool is_wanted = sequence.pooling == Pooling::kMean ||
                           (sequence.pooling == Pooling::kFirst && is_first && row == begin) ||
                           (sequence.pooling == Pooling::kLast && is_last && row + 1 == end);
    if (is_wanted) batch.hidden_rows.push_back(row);
  }
  scheduled.num_hidden_rows =
      static_cast<std::int32_t>(batch.hidden_rows.size()) - scheduled.first_hidden_row;
}

// Blocks for `num_tokens` tokens. False: not now; the sequence may have been sent back itself.
bool Scheduler::grow(Sequence& sequence, std::int32_t num_tokens) {
  const auto needed = static_cast<std::size_t>(ceil_div(num_tokens, options_.block_tokens));
  while (sequence.blocks.size() < needed) {
    if (const auto block = pool_.allocate()) {
      sequence.blocks.push_back(*block);
    } else if (Sequence* victim = find_victim(sequence)) {
      preempt(*victim);
      if (victim == &sequence) return false;
    } else {
      return false;
    }
  }
  return true;
}

// The latest arrival that is not in flight, `sequence` itself if that is it. None: an earlier
// arrival than `sequence` would have to go, or a later one is in flight, for which it is better to
// wait than to give up what is computed.
Sequence* Scheduler::find_victim(const Sequence& sequence) const {
  for (auto entry = running_.rbegin(); entry != running_.rend(); ++entry) {
    Sequence* candidate = entry->second;
    if (candidate->arrival < sequence.arrival) break;
    if (candidate == &sequence && running_.size() == 1) break;
    if (!candidate->in_flight) {
      // Later ones in flight come back with their blocks.
      return candidate == &sequence && entry != running_.rbegin() ? nullptr : candidate;
    }
  }
  return nullptr;
}

void Scheduler::preempt(Sequence& sequence) {
  give_back(sequence);
  ++sequence.num_preemptions;
  ++num_preemptions_;
  running_.erase(sequence.arrival);
  waiting_.emplace(sequence.arrival, &sequence);
}

void Scheduler::give_back(Sequence& sequence) {
  // The last block first: a prefix is worth more than what followed it.
  for (auto block = sequence.blocks.rbegin(); block != sequence.blocks.rend(); ++block) {
    pool_.release(*block);
  }
  sequence.blocks.clear();
  sequence.num_computed = 0;
  sequence.num_published = 0;
  sequence.last_key = {};
}

void Scheduler::finish(const ScheduledStep& step, std::int64_t duration_us) {
  for (const ScheduledSequence& scheduled : step.sequences) {
    Sequence& sequence = *scheduled.sequence;
    sequence.in_flight = false;
    sequence.num_computed += scheduled.num_tokens - scheduled.num_drafts;
    publish_full_blocks(sequence);
  }
  pace_.observe(step.batch->num_tokens(), duration_us);
}

void Scheduler::publish_full_blocks(Sequence& sequence) {
  if (!options_.prefix_cache || !sequence.may_share) return;
  while ((sequence.num_published + 1) * options_.block_tokens <= sequence.num_computed) {
    const std::int32_t index = sequence.num_published++;
    const auto tokens = tokens_of_block(sequence, index);
    sequence.last_key = hasher_.next(sequence.last_key, tokens);
    pool_.publish(sequence.blocks[static_cast<std::size_t>(index)], sequence.last_key, tokens);
  }
}

void Scheduler::start_over() {
  for (const auto& [arrival, sequence] : running_) {
    sequence->in_flight = false;
    give_back(*sequence);
    waiting_.emplace(arrival, sequence);
  }
  running_.clear();
  pool_.forget_contents();
}

std::span<const std::int32_t> Scheduler::tokens_of_block(const Sequence& sequence,
                                                         std::int32_t index) const {
  const auto size = static_cast<std::size_t>(options_.block_tokens);
  return std::span(sequence.tokens).subspan(static_cast<std::size_t>(index) * size, size);
}

std::string Scheduler::find_fault() const {
  if (std::string fault = pool_.find_fault(); !fault.empty()) return fault;
  std::vector<std::int32_t> references(static_cast<std::size_t>(options_.num_blocks), 0);
  for (const auto& [arrival, sequence] : running_) {
    for (const std::int32_t block : sequence->blocks) ++references[static_cast<std::size_t>(block)];
    const auto held = std::int64_t(sequence->blocks.size()) * options_.block_tokens;
    if (sequence->num_computed > held) return fmt::format("sequence {}: too few blocks", arrival);
    if (sequence->num_remaining() < 1) return fmt::format("sequence {}: nothing left", arrival);
  }
  for (const auto& [arrival, sequence] : waiting_) {
    if (!sequence->blocks.empty()) return fmt::format("sequence {} waits with blocks", arrival);
    if (running_.contains(arrival)) return fmt::format("sequence {} waits and runs", arrival);
  }
  for (std::int32_t block = 0; block < options_.num_blocks; ++block) {
    const std::int32_t expected = references[static_cast<std::size_t>(block)];
    if (pool_.num_references(block) != expected) {
      return fmt::format("block {}: {} references, {} owners", block, pool_.num_references(block),
                         expected);
    }
  }
  return {};
}

}  // namespace tandem
