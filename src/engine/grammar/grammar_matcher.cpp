#include "engine/grammar/grammar_matcher.h"

#include <algorithm>

namespace tandem {
namespace {

std::uint64_t key_of(std::int32_t a, std::int32_t b) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(a)) << 32) |
         static_cast<std::uint32_t>(b);
}

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15u + (hash << 6) + (hash >> 2);
  return hash * 0xBF58476D1CE4E5B9u;
}

}  // namespace

GrammarMatcher::GrammarMatcher(std::shared_ptr<const Grammar> grammar,
                               std::shared_ptr<const TokenTrie> trie, const Limits& limits)
    : grammar_(std::move(grammar)), trie_(std::move(trie)), limits_(limits) {
  states_.emplace_back();       // kDead
  frames_.push_back({-1, -1});  // kNoFrame
  walk_.resize(static_cast<std::size_t>(trie_->max_depth()) + 1);
  for (const auto start : grammar_->alternatives(grammar_->root())) reach(start, kNoFrame);
  state_ = close();
}

bool GrammarMatcher::may_end() const {
  return states_[static_cast<std::size_t>(state_)].accepting;
}

std::int32_t GrammarMatcher::fail() {
  failed_ = true;
  pending_.clear();
  return kDead;
}

void GrammarMatcher::reach(std::int32_t position, std::int32_t frame) {
  if (seen_.emplace(key_of(position, frame), true).second) pending_.push_back({position, frame});
}

std::int32_t GrammarMatcher::frame_of(std::int32_t return_position, std::int32_t parent) {
  const auto [found, is_new] = frame_ids_.try_emplace(key_of(return_position, parent),
                                                      static_cast<std::int32_t>(frames_.size()));
  if (is_new) frames_.push_back({return_position, parent});
  return found->second;
}

std::int32_t GrammarMatcher::close() {
  using Kind = Grammar::Element::Kind;
  std::vector<Place> places;
  bool accepting = false;
  while (!pending_.empty()) {
    if (++work_ > limits_.max_work || frames_.size() > limits_.max_frames ||
        places.size() > limits_.max_places) {
      seen_.clear();
      return fail();
    }
    const Place at = pending_.back();
    pending_.pop_back();
    const auto& element = grammar_->element(at.position);
    if (element.kind == Kind::kBytes) {
      places.push_back(at);
    } else if (element.kind == Kind::kEnd) {
      if (at.frame == kNoFrame) {
        accepting = true;
      } else {
        const Frame frame = frames_[static_cast<std::size_t>(at.frame)];
        reach(frame.return_position, frame.parent);
      }
    } else {
      // The last call of an alternative needs no way back: repetitions leave no trace.
      const bool is_last = grammar_->element(at.position + 1).kind == Kind::kEnd;
      const std::int32_t frame = is_last ? at.frame : frame_of(at.position + 1, at.frame);
      for (const auto start : grammar_->alternatives(element.rule)) reach(start, frame);
    }
  }
  seen_.clear();
  if (places.empty() && !accepting) return kDead;
  std::sort(places.begin(), places.end());
  return intern(std::move(places), accepting);
}

std::int32_t GrammarMatcher::intern(std::vector<Place> places, bool accepting) {
  std::uint64_t hash = accepting ? 1 : 2;
  for (const Place& place : places) hash = mixed(hash, key_of(place.position, place.frame));
  const auto [first, last] = states_by_hash_.equal_range(hash);
  for (auto at = first; at != last; ++at) {
    const State& state = states_[static_cast<std::size_t>(at->second)];
    if (state.accepting == accepting && state.places == places) return at->second;
  }
  num_places_ += places.size();
  if (states_.size() >= limits_.max_states || num_places_ > limits_.max_places) return fail();
  const auto id = static_cast<std::int32_t>(states_.size());
  states_.push_back({std::move(places), accepting, nullptr, std::nullopt});
  states_by_hash_.emplace(hash, id);
  return id;
}

std::int32_t GrammarMatcher::step(std::int32_t from, std::uint8_t byte) {
  if (from == kDead || failed_) return kDead;
  {
    State& state = states_[static_cast<std::size_t>(from)];
    if (!state.next) {
      state.next = std::make_unique<std::array<std::int32_t, 256>>();
      state.next->fill(kUnknown);
    }
    if ((*state.next)[byte] != kUnknown) return (*state.next)[byte];
    for (const Place& place : state.places) {
      ++work_;
      const auto& element = grammar_->element(place.position);
      if (byte >= element.first_byte && byte <= element.last_byte) {
        reach(place.position + 1, place.frame);
      }
    }
  }
  const std::int32_t to = pending_.empty() ? kDead : close();
  if (!failed_) (*states_[static_cast<std::size_t>(from)].next)[byte] = to;
  return to;
}

const std::vector<std::uint64_t>& GrammarMatcher::allowed_tokens() {
  work_ = 0;
  if (num_masks_ >= limits_.max_cached_masks) {
    for (State& state : states_) state.allowed.reset();
    num_masks_ = 0;
  }
  if (!states_[static_cast<std::size_t>(state_)].allowed) {
    auto allowed = compute_allowed(state_);
    // Computing may have failed, or made more states and so moved them.
    if (failed_) state_ = kDead;
    if (failed_) std::fill(allowed.begin(), allowed.end(), 0);
    states_[static_cast<std::size_t>(state_)].allowed = std::move(allowed);
    ++num_masks_;
  }
  return *states_[static_cast<std::size_t>(state_)].allowed;
}

std::vector<std::uint64_t> GrammarMatcher::compute_allowed(std::int32_t state) {
  std::vector<std::uint64_t> allowed(static_cast<std::size_t>(trie_->vocabulary_size() + 63) / 64);
  const auto& nodes = trie_->nodes();
  walk_[0] = state;
  for (std::size_t i = 0; i < nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const auto depth = static_cast<std::size_t>(node.depth);
    const std::int32_t next = step(walk_[depth], node.byte);
    if (next == kDead) {
      if (failed_) return allowed;
      i = static_cast<std::size_t>(node.subtree_end);
      continue;
    }
    walk_[depth + 1] = next;
    for (const std::int32_t token : trie_->tokens_at(i)) {
      allowed[static_cast<std::size_t>(token) / 64] |= std::uint64_t{1} << (token % 64);
    }
    ++i;
  }
  return allowed;
}

bool GrammarMatcher::accept(std::int32_t token) {
  if (token < 0 || token >= trie_->vocabulary_size()) {
    state_ = kDead;
    return false;
  }
  return accept(trie_->bytes_of(token));
}

bool GrammarMatcher::accept(std::span<const std::uint8_t> bytes) {
  work_ = 0;
  for (const std::uint8_t byte : bytes) state_ = step(state_, byte);
  if (failed_) state_ = kDead;
  const bool crowded = states_.size() > limits_.max_states / 2 ||
                       num_places_ > limits_.max_places / 2 ||
                       frames_.size() > limits_.max_frames / 2;
  if (crowded && !failed_) forget_other_states();
  return state_ != kDead;
}

void GrammarMatcher::forget_other_states() {
  State kept = std::move(states_[static_cast<std::size_t>(state_)]);
  // A frame's parent has a lower id, so that one pass in order copies all that are still needed.
  std::vector<bool> needed(frames_.size(), false);
  for (const Place& place : kept.places) needed[static_cast<std::size_t>(place.frame)] = true;
  for (std::size_t id = frames_.size(); id-- > 1;) {
    if (needed[id]) needed[static_cast<std::size_t>(frames_[id].parent)] = true;
  }
  const std::vector<Frame> old_frames = std::move(frames_);
  frames_ = {{-1, -1}};
  frame_ids_.clear();
  std::vector<std::int32_t> moved(old_frames.size(), kNoFrame);
  for (std::size_t id = 1; id < old_frames.size(); ++id) {
    if (!needed[id]) continue;
    moved[id] = frame_of(old_frames[id].return_position,
                         moved[static_cast<std::size_t>(old_frames[id].parent)]);
  }
  for (Place& place : kept.places) place.frame = moved[static_cast<std::size_t>(place.frame)];
  std::sort(kept.places.begin(), kept.places.end());
  states_.clear();
  states_.emplace_back();
  states_by_hash_.clear();
  num_places_ = 0;
  num_masks_ = 0;
  const bool was_dead = state_ == kDead;
  state_ = was_dead ? kDead : intern(std::move(kept.places), kept.accepting);
}

}  // namespace tandem
