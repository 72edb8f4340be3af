#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/vocabulary.h"

namespace tandem {

// A stretch of text that is one token by itself, or that is still to be encoded.
struct TextFragment {
  std::string_view text;
  std::optional<std::int32_t> token;
};

// Finds the tokens that are matched literally, before any encoding. Longer ones win over shorter
// ones wherever they stand, then those further left (llama-vocab.cpp, tokenizer_st_partition).
// Immutable, safe to share.
class SpecialSplitter {
 public:
  // `vocabulary` is not kept.
  explicit SpecialSplitter(const Vocabulary& vocabulary);

  // The fragments of `text`, in order, none empty. They point into it. User-defined tokens are
  // always found; control and unknown tokens only with `parse_special`, and white space behind a
  // token that strips it is then left out. Time: text times the number of different token lengths.
  std::vector<TextFragment> split(std::string_view text, bool parse_special) const;

 private:
  struct Entry {
    std::int32_t id;
    bool is_user_defined;
    bool strips_right;
  };
  // The tokens of one length, with bitmaps of their first and last bytes, which rule out most
  // places without hashing.
  struct LengthClass {
    std::size_t length = 0;
    bool has_user_defined = false;
    std::array<bool, 256> first{};
    std::array<bool, 256> last{};
    std::unordered_map<std::string_view, Entry> entries;  // views of texts_
  };

  static const Entry* match(const LengthClass& tokens, std::string_view text, std::size_t at,
                            bool parse_special);
  static void split_fragment(const LengthClass& tokens, std::string_view text, bool parse_special,
                             std::vector<TextFragment>& out);

  std::vector<std::string> texts_;
  std::vector<LengthClass> classes_;  // longest first
};

}  // namespace tandem
