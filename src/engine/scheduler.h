#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/block_pool.h"
#include "engine/prefill_pace.h"
#include "engine/sequence.h"
#include "nn/step_batch.h"

namespace tandem {

struct SchedulerOptions {
  std::int32_t block_tokens = 32;
  std::int32_t num_blocks = 0;
  std::int32_t max_sequences = 1;       // that run at once
  std::int32_t max_batch_tokens = 512;  // in one step
  std::int32_t max_output_rows = 0;     // of logits in one step; what exceeds max_sequences may be
                                        // spent on drafts
  std::int32_t max_in_flight = 1;       // steps at once: the plan's stages
  bool prefix_cache = true;
  double max_decode_slowdown = 1.65;  // of a decode beside prompts, against one alone
};

// A sequence's part of a step.
struct ScheduledSequence {
  Sequence* sequence = nullptr;
  std::int32_t num_tokens = 0;  // computed by the step, drafts included
  std::int32_t num_drafts = 0;
  std::int32_t first_row = -1;  // of the step's logits; -1: the prompt goes on after this chunk
  std::int32_t first_hidden_row = 0;  // of the step's hidden states
  std::int32_t num_hidden_rows = 0;
};

// The tokens of one step and whose they are.
struct ScheduledStep {
  std::shared_ptr<StepBatch> batch = std::make_shared<StepBatch>();
  std::vector<ScheduledSequence> sequences;
  std::int32_t num_decodes = 0;
  std::int32_t num_prefill_tokens = 0;

  bool is_empty() const { return sequences.empty(); }
};

// Decides what each step computes, and owns the blocks' accounts. Knows tokens and blocks, no text
// and no device. First come, first served: the earliest arrival gets blocks before all others, and
// where blocks run out the latest arrival gives its own back and is computed again later. So the
// earliest always moves on, and none waits for ever.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  const SchedulerOptions& options() const { return options_; }
  // The longest sequence that can ever run: all blocks.
  std::int64_t max_tokens() const {
    return std::int64_t{options_.num_blocks} * options_.block_tokens;
  }

  // Queues a sequence with at least one token, at most max_tokens(). It is borrowed until remove().
  void add(Sequence& sequence);
  // Takes a sequence that is not in flight out and gives its blocks back.
  void remove(Sequence& sequence);
  // The next step, of sequences that are not in flight; these are in flight from now on. Empty:
  // nothing can run now.
  ScheduledStep schedule();
  // The step was computed: its sequences hold its tokens, drafts excepted, and may be scheduled
  // again. `duration_us` is what the step took.
  void finish(const ScheduledStep& step, std::int64_t duration_us);
  // The ranks' memory is lost: every running sequence queues again, every block is forgotten. No
  // sequence is in flight afterwards.
  void start_over();

  std::int32_t num_waiting() const { return static_cast<std::int32_t>(waiting_.size()); }
  std::int32_t num_running() const { return static_cast<std::int32_t>(running_.size()); }
  std::int64_t num_preemptions() const { return num_preemptions_; }
  const BlockPool& blocks() const { return pool_; }
  // Empty, or how blocks and sequences contradict each other. For tests.
  std::string find_fault() const;

 private:
  using ByArrival = std::map<std::uint64_t, Sequence*>;
  struct Prefix {
    std::vector<BlockKey> keys;    // of the known blocks that the sequence starts with
    std::int32_t num_revived = 0;  // of these, cached ones: they are no longer available
  };

  void admit();
  Prefix find_prefix(const Sequence& sequence) const;
  bool has_room_for(const Sequence& sequence, const Prefix& prefix) const;
  void take_blocks(Sequence& sequence, const Prefix& prefix);
  void add_decodes(ScheduledStep& step);
  void add_prefills(ScheduledStep& step);
  bool somebody_decodes() const;
  void add_to(ScheduledStep& step, Sequence& sequence, std::int32_t num_tokens,
              std::int32_t num_drafts);
  static void add_picking(StepBatch& batch, const Sequence& sequence, std::int32_t num_ahead);
  static void add_hidden_rows(StepBatch& batch, ScheduledSequence& scheduled);
  bool grow(Sequence& sequence, std::int32_t num_tokens);
  Sequence* find_victim(const Sequence& sequence) const;
  void preempt(Sequence& sequence);
  void give_back(Sequence& sequence);
  void publish_full_blocks(Sequence& sequence);
  std::span<const std::int32_t> tokens_of_block(const Sequence& sequence, std::int32_t index) const;

  SchedulerOptions options_;
  BlockPool pool_;
  BlockHasher hasher_;
  PrefillPace pace_;
  ByArrival waiting_;
  ByArrival running_;
  std::int64_t num_preemptions_ = 0;
};

}  // namespace tandem
