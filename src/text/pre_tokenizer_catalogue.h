#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

// How one family of byte-level BPE vocabularies cuts text into words before merging.
struct PreTokenizerSpec {
  // Names in `tokenizer.ggml.pre`. The first is the family's own.
  std::vector<std::string_view> names;
  // Applied in order, each to every piece that those before left: matches and the text between them
  // become pieces of their own. PCRE2 syntax, with \s and \S as Unicode's White_Space.
  std::vector<std::string_view> patterns;
  // A word that is a token is that token, whatever the merges would make of it.
  bool ignores_merges = false;
  // The default of add_bos where the file says nothing.
  bool adds_bos = false;
};

// All that Tandem knows. The patterns are those of the models' own tokenizer.json, as far as
// possible in the form that llama.cpp settled on (llama-vocab.cpp, llm_tokenizer_bpe).
std::span<const PreTokenizerSpec> all_pre_tokenizers();

// Null where the name is unknown.
const PreTokenizerSpec* find_pre_tokenizer(std::string_view name);

// "default, gpt-2, phi-2, ...": for error messages.
std::string list_pre_tokenizers();

}  // namespace tandem
