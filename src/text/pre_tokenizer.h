#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/pre_tokenizer_catalogue.h"

namespace tandem {

// Cuts text into the words within which byte-level BPE merges. Immutable, safe to share.
class PreTokenizer {
 public:
  // Errors: kInternal for a pattern that PCRE2 refuses, which a test rules out for the catalogue.
  static Result<std::unique_ptr<PreTokenizer>> create(const PreTokenizerSpec& spec);
  ~PreTokenizer();
  PreTokenizer(const PreTokenizer&) = delete;
  PreTokenizer& operator=(const PreTokenizer&) = delete;

  // The words of `text`, in order and without gaps: together they are `text` again. They point into
  // it. Bytes that are no valid UTF-8 are a word of their own, since no pattern speaks of them.
  // Time is linear in the text; a pattern that meets PCRE2's match limit leaves the rest of its
  // piece as one word and says so once in the log.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  class Pattern;

  PreTokenizer();

  std::vector<std::unique_ptr<Pattern>> patterns_;
};

}  // namespace tandem
