#include "text/spm_encoder.h"

#include <algorithm>

#include "text/utf8.h"

namespace tandem {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // "▁", U+2581

std::string escape_spaces(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size() + text.size() / 2);
  for (const char c : text) {
    if (c == ' ') {
      escaped += kSpaceMark;
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// Is there a "▁" behind a character that is none?
bool has_inner_space_mark(std::string_view text) {
  while (text.starts_with(kSpaceMark)) text.remove_prefix(kSpaceMark.size());
  return text.find(kSpaceMark) != std::string_view::npos;
}

// The end of the word that begins at `begin`: marks, then what is none.
std::size_t end_of_word(std::string_view text, std::size_t begin) {
  std::size_t end = begin;
  while (text.substr(end).starts_with(kSpaceMark)) end += kSpaceMark.size();
  return std::min(text.find(kSpaceMark, end), text.size());
}

// Node indices are 32 bits. A longer run is cut, which only hides joins across the cuts.
constexpr std::size_t kMaxRunBytes = std::size_t{1} << 30;

std::string byte_token_text(std::size_t byte) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  return {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
}

}  // namespace

// Merges one run of text. Symbols are ranges of it, in a doubly linked list by index.
class SpmEncoder::Merger {
 public:
  Merger(const SpmEncoder& encoder, std::string_view text) : encoder_(encoder), text_(text) {
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t length = read_utf8(text, i).num_bytes;
      const auto index = static_cast<std::int32_t>(nodes_.size());
      nodes_.push_back({i, length, index - 1, index + 1});
      i += length;
    }
    if (!nodes_.empty()) nodes_.back().next = -1;
  }

  void run() {
    for (std::size_t i = 0; i + 1 < nodes_.size(); ++i) {
      add(static_cast<std::int32_t>(i), static_cast<std::int32_t>(i + 1), false);
    }
    std::make_heap(candidates_.begin(), candidates_.end());
    while (!candidates_.empty()) {
      std::pop_heap(candidates_.begin(), candidates_.end());
      const Candidate best = candidates_.back();
      candidates_.pop_back();
      Node& left = at(best.left);
      Node& right = at(best.right);
      // Symbols only grow or vanish, so a sum that is unchanged means both are.
      if (left.length == 0 || right.length == 0 || left.length + right.length != best.length) {
        continue;
      }
      left.length += right.length;
      right.length = 0;
      left.next = right.next;
      if (right.next >= 0) at(right.next).previous = best.left;
      if (left.previous >= 0) add(left.previous, best.left, true);
      if (left.next >= 0) add(best.left, left.next, true);
    }
  }

  template <typename Visit>
  void for_each_symbol(const Visit& visit) const {
    for (std::int32_t i = nodes_.empty() ? -1 : 0; i >= 0;
         i = nodes_[static_cast<std::size_t>(i)].next) {
      const Node& node = nodes_[static_cast<std::size_t>(i)];
      visit(text_.substr(node.begin, node.length));
    }
  }

 private:
  struct Node {
    std::size_t begin;
    std::size_t length;  // 0 once joined to its left neighbour
    std::int32_t previous;
    std::int32_t next;
  };
  struct Candidate {
    float score;
    std::int32_t left;
    std::int32_t right;
    std::size_t length;

    // For the standard heap, whose top is the greatest: the best score, then the leftmost.
    bool operator<(const Candidate& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };

  Node& at(std::int32_t index) { return nodes_[static_cast<std::size_t>(index)]; }

  void add(std::int32_t left, std::int32_t right, bool into_heap) {
    const std::size_t length = at(left).length + at(right).length;
    const Piece* piece = encoder_.find(text_.substr(at(left).begin, length));
    if (piece == nullptr) return;
    candidates_.push_back({piece->score, left, right, length});
    if (into_heap) std::push_heap(candidates_.begin(), candidates_.end());
  }

  const SpmEncoder& encoder_;
  std::string_view text_;
  std::vector<Node> nodes_;
  std::vector<Candidate> candidates_;
};

SpmEncoder::SpmEncoder(const Vocabulary& vocabulary) {
  unknown_ = vocabulary.special().unk.value_or(0);
  byte_tokens_.fill(-1);
  std::vector<Piece> pieces;
  std::unordered_map<std::string_view, std::int32_t> byte_texts;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    const VocabularyToken& token = vocabulary.token(id);
    if (token.type == TokenType::kByte) byte_texts.emplace(token.text, id);
    if (token.text.empty() || token.type == TokenType::kControl ||
        token.type == TokenType::kUnknown || token.type == TokenType::kByte) {
      continue;
    }
    texts_.push_back(token.text);
    pieces.push_back({id, token.score});
    max_piece_bytes_ = std::max(max_piece_bytes_, token.text.size());
    if (has_inner_space_mark(token.text)) words_are_separate_ = false;
  }
  pieces_.reserve(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) pieces_.emplace(texts_[i], pieces[i]);

  for (std::size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    const auto found = byte_texts.find(byte_token_text(byte));
    if (found != byte_texts.end()) {
      byte_tokens_[byte] = found->second;
    } else if (const Piece* piece = find(std::string(1, static_cast<char>(byte)))) {
      byte_tokens_[byte] = piece->id;
    }
  }
}

const SpmEncoder::Piece* SpmEncoder::find(std::string_view text) const {
  if (text.size() > max_piece_bytes_) return nullptr;
  const auto found = pieces_.find(text);
  return found == pieces_.end() ? nullptr : &found->second;
}

void SpmEncoder::encode(std::string_view text, std::vector<std::int32_t>& out) const {
  const std::string escaped = escape_spaces(text);
  const std::string_view view = escaped;
  for (std::size_t begin = 0; begin < view.size();) {
    std::size_t end = words_are_separate_ ? end_of_word(view, begin) : view.size();
    end = std::min(end, begin + kMaxRunBytes);
    encode_run(view.substr(begin, end - begin), out);
    begin = end;
  }
}

void SpmEncoder::encode_run(std::string_view escaped, std::vector<std::int32_t>& out) const {
  Merger merger(*this, escaped);
  merger.run();
  merger.for_each_symbol([&](std::string_view symbol) { append(symbol, out); });
}

void SpmEncoder::append(std::string_view symbol, std::vector<std::int32_t>& out) const {
  if (const Piece* piece = find(symbol)) {
    out.push_back(piece->id);
    return;
  }
  bool said_unknown = false;
  for (const char byte : symbol) {
    const std::int32_t token = byte_tokens_[static_cast<std::uint8_t>(byte)];
    if (token >= 0) {
      out.push_back(token);
    } else if (!said_unknown) {
      out.push_back(unknown_);
      said_unknown = true;
    }
  }
}

}  // namespace tandem
