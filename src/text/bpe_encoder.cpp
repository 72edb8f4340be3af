#include "text/bpe_encoder.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "text/byte_alphabet.h"
#include "text/pre_tokenizer_catalogue.h"

namespace tandem {
namespace {

// A symbol of the word being merged, in a doubly linked list by index; -1 ends it.
struct Node {
  std::int32_t symbol;  // -1 once joined to its left neighbour
  std::int32_t previous;
  std::int32_t next;
};

struct Candidate {
  std::int32_t rank;
  std::int32_t left;  // indices of nodes
  std::int32_t right;
  std::int32_t left_symbol;  // what stood there when the pair was found
  std::int32_t right_symbol;
  std::int32_t joined;

  // For the standard heap, whose top is the greatest: the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

class WordMerger {
 public:
  explicit WordMerger(const MergeTable& merges) : merges_(merges) {}

  std::vector<Node>& nodes() { return nodes_; }

  // Joins pairs until none is left that joins: O(n log n).
  void run() {
    candidates_.clear();
    const auto size = static_cast<std::int32_t>(nodes_.size());
    for (std::int32_t i = 0; i + 1 < size; ++i) add(i, i + 1, false);
    std::make_heap(candidates_.begin(), candidates_.end());
    while (!candidates_.empty()) {
      std::pop_heap(candidates_.begin(), candidates_.end());
      const Candidate best = candidates_.back();
      candidates_.pop_back();
      Node& left = at(best.left);
      Node& right = at(best.right);
      // A joined node is -1, so that this also finds the stale candidates.
      if (left.symbol != best.left_symbol || right.symbol != best.right_symbol) continue;
      left.symbol = best.joined;
      right.symbol = -1;
      left.next = right.next;
      if (right.next >= 0) at(right.next).previous = best.left;
      if (left.previous >= 0) add(left.previous, best.left, true);
      if (left.next >= 0) add(best.left, left.next, true);
    }
  }

 private:
  Node& at(std::int32_t index) { return nodes_[static_cast<std::size_t>(index)]; }

  void add(std::int32_t left, std::int32_t right, bool into_heap) {
    const Node& l = at(left);
    const Node& r = at(right);
    const MergeTable::Merge merge = merges_.find(l.symbol, r.symbol);
    if (merge.rank < 0) return;
    candidates_.push_back({merge.rank, left, right, l.symbol, r.symbol, merge.symbol});
    if (into_heap) std::push_heap(candidates_.begin(), candidates_.end());
  }

  const MergeTable& merges_;
  std::vector<Node> nodes_;
  std::vector<Candidate> candidates_;
};

// Node indices are 32 bits. A longer word is cut, which only hides joins across the cuts.
constexpr std::size_t kMaxWordBytes = std::size_t{1} << 30;

}  // namespace

Result<std::unique_ptr<BpeEncoder>> BpeEncoder::create(const Vocabulary& vocabulary) {
  const PreTokenizerSpec* spec = find_pre_tokenizer(vocabulary.pre_tokenizer());
  TANDEM_CHECK(spec != nullptr, "Vocabulary::create() checks the pre-tokenizer");
  std::unique_ptr<BpeEncoder> encoder(new BpeEncoder());
  TANDEM_TRY(encoder->pre_tokenizer_, PreTokenizer::create(*spec));
  encoder->ignores_merges_ = spec->ignores_merges;
  encoder->unknown_ = vocabulary.special().unk.value_or(-1);
  encoder->index_tokens(vocabulary);
  encoder->index_merges(vocabulary);
  return encoder;
}

void BpeEncoder::index_tokens(const Vocabulary& vocabulary) {
  num_tokens_ = vocabulary.size();
  symbols_.reserve(static_cast<std::size_t>(num_tokens_) + 256);
  for (std::int32_t id = 0; id < num_tokens_; ++id) {
    const VocabularyToken& token = vocabulary.token(id);
    // Text must not become a control token: those come from the splitter, when asked for.
    if (token.type == TokenType::kControl || token.type == TokenType::kUnknown) continue;
    if (const auto bytes = bytes_of_spelling(token.text); bytes && !bytes->empty()) {
      symbols_.intern(*bytes, id);
    }
  }
  for (std::size_t byte = 0; byte < byte_symbols_.size(); ++byte) {
    const char c = static_cast<char>(byte);
    byte_symbols_[byte] = intern({&c, 1});
  }
}

void BpeEncoder::index_merges(const Vocabulary& vocabulary) {
  const std::vector<std::string>& merges = vocabulary.merges();
  merges_.reserve(merges.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) continue;
    const auto left = bytes_of_spelling(merge.substr(0, space));
    const auto right = bytes_of_spelling(merge.substr(space + 1));
    // A merge of what no byte spells could never apply.
    if (!left || !right || left->empty() || right->empty()) continue;
    const std::int32_t joined = intern(*left + *right);
    const std::int32_t left_symbol = intern(*left);
    const std::int32_t right_symbol = intern(*right);
    merges_.insert(left_symbol, right_symbol, {static_cast<std::int32_t>(rank), joined});
  }
}

std::int32_t BpeEncoder::intern(std::string_view bytes) {
  const auto next = num_tokens_ + static_cast<std::int32_t>(extra_.size());
  const std::int32_t symbol = symbols_.intern(bytes, next);
  if (symbol == next) extra_.emplace_back(bytes);
  return symbol;
}

void BpeEncoder::encode(std::string_view text, std::vector<std::int32_t>& out) const {
  for (std::string_view word : pre_tokenizer_->split(text)) {
    for (; word.size() > kMaxWordBytes; word.remove_prefix(kMaxWordBytes)) {
      encode_word(word.substr(0, kMaxWordBytes), out);
    }
    encode_word(word, out);
  }
}

void BpeEncoder::encode_word(std::string_view word, std::vector<std::int32_t>& out) const {
  if (ignores_merges_) {
    const std::int32_t whole = symbols_.find(word);
    if (whole >= 0 && whole < num_tokens_) {
      out.push_back(whole);
      return;
    }
  }
  WordMerger merger(merges_);
  std::vector<Node>& nodes = merger.nodes();
  nodes.reserve(word.size());
  for (std::size_t i = 0; i < word.size(); ++i) {
    const auto index = static_cast<std::int32_t>(i);
    const bool last = i + 1 == word.size();
    nodes.push_back(
        {byte_symbols_[static_cast<std::uint8_t>(word[i])], index - 1, last ? -1 : index + 1});
  }
  merger.run();
  for (std::int32_t i = 0; i >= 0 && !nodes.empty(); i = nodes[static_cast<std::size_t>(i)].next) {
    append_symbol(nodes[static_cast<std::size_t>(i)].symbol, out);
  }
}

void BpeEncoder::append_symbol(std::int32_t symbol, std::vector<std::int32_t>& out) const {
  if (symbol < num_tokens_) {
    out.push_back(symbol);
    return;
  }
  for (const char byte : extra_[static_cast<std::size_t>(symbol - num_tokens_)]) {
    const std::int32_t token = byte_symbols_[static_cast<std::uint8_t>(byte)];
    if (token < num_tokens_) {
      out.push_back(token);
    } else if (unknown_ >= 0) {
      out.push_back(unknown_);
    }
  }
}

}  // namespace tandem
