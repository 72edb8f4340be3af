#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/grammar/grammar.h"
#include "engine/grammar/token_trie.h"

namespace tandem {

// Follows a text through a grammar byte by byte, and says which tokens may come next.
//
// A state is the set of all places where the grammar may stand: each a position and a stack of
// positions to return to. Equal stacks and equal states are stored once, so states become those of
// an automaton that is built as it is walked; the tokens allowed in a state are kept with it.
// Memory and work per step are bounded; a grammar that exceeds them puts the matcher into failed().
// Used by one thread at a time.
class GrammarMatcher {
 public:
  struct Limits {
    std::size_t max_states = 50'000;    // of the automaton, some KiB each
    std::size_t max_places = 500'000;   // in all states together
    std::size_t max_frames = 500'000;   // of all stacks together
    std::size_t max_work = 20'000'000;  // places looked at for one mask or token
    std::size_t max_cached_masks = 256;
  };

  GrammarMatcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie)
      : GrammarMatcher(std::move(grammar), std::move(trie), Limits{}) {}
  GrammarMatcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie,
                 const Limits& limits);

  // One bit per token of the vocabulary, lowest first: those that may come next.
  const std::vector<std::uint64_t>& allowed_tokens();
  // Whether the text so far is a whole sentence of the grammar.
  bool may_end() const;
  // Takes a token or bytes. False where the grammar does not allow them; the state then is dead.
  bool accept(std::int32_t token);
  bool accept(std::span<const std::uint8_t> bytes);
  // No continuation is possible.
  bool is_dead() const { return state_ == kDead; }
  // A limit was exceeded: the state is dead for that reason.
  bool failed() const { return failed_; }

 private:
  static constexpr std::int32_t kDead = 0;
  static constexpr std::int32_t kUnknown = -1;
  static constexpr std::int32_t kNoFrame = 0;

  struct Frame {
    std::int32_t return_position;
    std::int32_t parent;
  };
  struct Place {
    std::int32_t position;  // of an element of kind kBytes
    std::int32_t frame;
    auto operator<=>(const Place&) const = default;
  };
  struct State {
    std::vector<Place> places;
    bool accepting = false;
    std::unique_ptr<std::array<std::int32_t, 256>> next;  // made when first left
    std::optional<std::vector<std::uint64_t>> allowed;
  };

  std::int32_t step(std::int32_t state, std::uint8_t byte);
  // Everything that can be reached from `pending_` without reading, as a state.
  std::int32_t close();
  void reach(std::int32_t position, std::int32_t frame);
  std::int32_t intern(std::vector<Place> places, bool accepting);
  std::int32_t frame_of(std::int32_t return_position, std::int32_t parent);
  std::vector<std::uint64_t> compute_allowed(std::int32_t state);
  void forget_other_states();
  std::int32_t fail();

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  Limits limits_;
  std::vector<State> states_;
  std::unordered_multimap<std::uint64_t, std::int32_t> states_by_hash_;
  std::vector<Frame> frames_;
  std::unordered_map<std::uint64_t, std::int32_t> frame_ids_;
  std::vector<Place> pending_;
  std::unordered_map<std::uint64_t, bool> seen_;
  std::vector<std::int32_t> walk_;
  std::size_t num_places_ = 0;
  std::size_t num_masks_ = 0;
  std::size_t work_ = 0;
  std::int32_t state_ = kDead;
  bool failed_ = false;
};

}  // namespace tandem
