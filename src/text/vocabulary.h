#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tandem {

class GgufFile;

// What a token is (`tokenizer.ggml.token_type`; the values are llama.h's enum llama_token_type).
enum class TokenType : std::uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,      // stands for what the vocabulary cannot say
  kControl = 3,      // steers the model, is no text: "<s>", "<|im_end|>"
  kUserDefined = 4,  // text that is always one token, found before anything else
  kUnused = 5,
  kByte = 6,  // "<0x0A>": one byte, of SentencePiece's byte fallback
};

struct VocabularyToken {
  std::string text;  // as the file spells it: "▁the" (SentencePiece), "Ġthe" (byte-level BPE)
  float score = 0;   // SentencePiece's merge priority; 0 where the file has none
  TokenType type = TokenType::kNormal;
  // White space after this token is swallowed where special tokens are parsed. GGUF does not say
  // so; it is true of Phi-3's special tokens.
  bool strips_right = false;
};

// Ids of the tokens that have a role; nullopt where the vocabulary has none for it.
struct SpecialTokens {
  std::optional<std::int32_t> bos, eos, eot, eom, unk, sep, pad, mask;
  std::optional<std::int32_t> fim_prefix, fim_suffix, fim_middle, fim_pad, fim_repo, fim_separator;
};

enum class TokenizerModel {
  kSentencePiece,  // "llama": merges by score, byte fallback
  kByteLevelBpe,   // "gpt2": merges by rank within the words of a pre-tokenizer
};

// What a GGUF file says of its vocabulary (the keys `tokenizer.ggml.*`), not yet checked. Tests
// and tools fill one by hand.
struct VocabularyFields {
  std::string where;  // stands in error messages: the file's name
  std::string model;
  std::optional<std::string> pre;
  std::string model_name;  // general.name
  std::vector<std::string> tokens;
  // Each is nullopt where the file has no such key.
  std::optional<std::vector<float>> scores;
  std::optional<std::vector<std::int32_t>> types;
  std::optional<std::vector<std::string>> merges;  // "left right", best first
  SpecialTokens special;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
};

// Reads the fields out of a file. Special ids outside the vocabulary are an error for bos, eos, eot
// and eom; the others, which decide nothing, are dropped with a warning. 2^32-1 means none.
// Errors: kMalformed for keys of the wrong type or a wrong length, naming file and key.
Result<VocabularyFields> read_vocabulary_fields(const GgufFile& file);

// A model's tokens and what they are for. Immutable, safe to share.
class Vocabulary {
 public:
  // Errors: kMalformed (what does not fit together), kUnsupported (model or pre-tokenizer).
  static Result<Vocabulary> create(VocabularyFields fields);

  TokenizerModel model() const { return model_; }
  // The pre-tokenizer's name as the file gives it; "default" where it gives none.
  const std::string& pre_tokenizer() const { return pre_tokenizer_; }

  // At least 1, at most 2^31-1.
  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  bool contains(std::int32_t id) const { return id >= 0 && id < size(); }
  // `id` must be contained.
  const VocabularyToken& token(std::int32_t id) const {
    return tokens_[static_cast<std::size_t>(id)];
  }
  // The lowest id whose text, as the file spells it, is `text`: a search through all tokens.
  std::optional<std::int32_t> find(std::string_view text) const;

  const SpecialTokens& special() const { return special_; }
  bool adds_bos() const { return adds_bos_; }
  bool adds_eos() const { return adds_eos_; }
  bool adds_space_prefix() const { return adds_space_prefix_; }

  // Does `id` end the answer? The set is llama.cpp's (llama-vocab.cpp, special_eog_ids): eos, eot,
  // eom, and every token whose text is known to end a turn.
  bool is_end_of_generation(std::int32_t id) const;
  // Ascending.
  const std::vector<std::int32_t>& end_of_generation() const { return end_of_generation_; }

  // Byte-level BPE only, best first.
  const std::vector<std::string>& merges() const { return merges_; }

 private:
  Vocabulary() = default;

  TokenizerModel model_ = TokenizerModel::kByteLevelBpe;
  std::string pre_tokenizer_;
  std::vector<VocabularyToken> tokens_;
  SpecialTokens special_;
  bool adds_bos_ = false;
  bool adds_eos_ = false;
  bool adds_space_prefix_ = false;
  std::vector<std::int32_t> end_of_generation_;
  std::vector<std::string> merges_;
};

}  // namespace tandem
