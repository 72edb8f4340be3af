#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "runtime/runtime.h"

namespace tandem {

struct DraftOptions {
  std::int32_t max_drafts = 8;
  // A guess of less probability ends the guessing: it would cost the large model a row for little.
  float min_probability = 0.75f;
};

// A sequence whose next tokens are to be guessed.
struct DraftRequest {
  std::uint64_t id = 0;                  // of the sequence, as long as it lives
  std::span<const std::int32_t> tokens;  // all of it, at least one
  std::int32_t max_drafts = 0;
  std::vector<std::int32_t> drafts = {};  // the answer; may be empty
};

// A small model that guesses what a large one with the same vocabulary will say (Leviathan et al.,
// "Fast inference from transformers via speculative decoding", 2023). It guesses greedily; whether
// a guess is right is for the large model's sampler to say, so nothing changes in distribution.
// Each sequence has a fixed part of its KV cache. Used by one thread at a time.
class DraftModel {
 public:
  DraftModel(std::unique_ptr<ModelRunner> runner, const DraftOptions& options);

  // Blocks while the small model computes. Sequences that are too long for its cache, or for which
  // there is no part of it left, get no drafts. After an error there are none any more.
  void propose(std::span<DraftRequest> requests);
  // The sequence is over, or its part of the cache is better spent.
  void forget(std::uint64_t id);

 private:
  struct Slot {
    std::vector<std::int32_t> blocks;
    std::vector<std::int32_t> tokens;  // whose keys and values lie there
    bool is_taken = false;
    std::uint64_t id = 0;
  };
  struct Work {
    DraftRequest* request = nullptr;
    Slot* slot = nullptr;
    std::vector<std::int32_t> unseen;  // tokens still to be computed
  };

  Slot* slot_of(std::uint64_t id);
  std::vector<Work> begin(std::span<DraftRequest> requests);
  Status run(std::vector<Work>& works);
  Status step(std::vector<Work*>& works);
  void take(Work& work, const StepResult& result, std::size_t row) const;

  std::unique_ptr<ModelRunner> runner_;  // null after an error
  DraftOptions options_;
  std::vector<Slot> slots_;
};

}  // namespace tandem
