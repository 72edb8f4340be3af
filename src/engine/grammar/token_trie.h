#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tandem {

class Tokenizer;

// A vocabulary's tokens by their bytes, so that a grammar looks at a common beginning once. The
// nodes stand in the order of a walk from the root, which jumps to `subtree_end` where nothing
// below can match. Immutable, safe to share.
class TokenTrie {
 public:
  struct Node {
    std::uint8_t byte = 0;
    std::int32_t depth = 0;        // of the first byte: 0
    std::int32_t subtree_end = 0;  // index of the next node that is not below this one
    std::int32_t first_token = 0;  // into tokens(), up to the next node's
  };

  // pieces[i]: the bytes of token i; those with none can never be chosen.
  explicit TokenTrie(std::span<const std::string> pieces);
  // Unknown and unused tokens and those that end a generation are left out; control tokens too,
  // unless they are to stand for their text ("[TOOL_CALLS]").
  static TokenTrie of(const Tokenizer& tokenizer, bool with_control = false);

  std::int32_t vocabulary_size() const { return vocabulary_size_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  // Tokens that end at node `index`.
  std::span<const std::int32_t> tokens_at(std::size_t index) const;
  // The bytes of a token; empty for those left out.
  std::span<const std::uint8_t> bytes_of(std::int32_t token) const;
  std::int32_t max_depth() const { return max_depth_; }

 private:
  std::int32_t vocabulary_size_ = 0;
  std::int32_t max_depth_ = 0;
  std::vector<Node> nodes_;
  std::vector<std::int32_t> tokens_;
  std::vector<std::uint8_t> bytes_;
  std::vector<std::uint32_t> byte_offsets_;  // vocabulary_size + 1
};

}  // namespace tandem
