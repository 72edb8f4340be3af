#include "text/vocabulary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "base/log.h"
#include "gguf/gguf_file.h"
#include "text/pre_tokenizer_catalogue.h"
#include "text/special_tokens.h"

namespace tandem {
namespace {

constexpr std::uint64_t kNoToken = 0xFFFFFFFF;

struct IdKey {
  std::string_view key;
  std::optional<std::int32_t> SpecialTokens::*id;
  bool is_required_valid;  // a wrong id would change what is generated
};

// gguf-py's constants.py, Keys.Tokenizer; the last three are an older spelling.
constexpr std::array kIdKeys = {
    IdKey{"tokenizer.ggml.bos_token_id", &SpecialTokens::bos, true},
    IdKey{"tokenizer.ggml.eos_token_id", &SpecialTokens::eos, true},
    IdKey{"tokenizer.ggml.eot_token_id", &SpecialTokens::eot, true},
    IdKey{"tokenizer.ggml.eom_token_id", &SpecialTokens::eom, true},
    IdKey{"tokenizer.ggml.unknown_token_id", &SpecialTokens::unk, false},
    IdKey{"tokenizer.ggml.seperator_token_id", &SpecialTokens::sep, false},
    IdKey{"tokenizer.ggml.padding_token_id", &SpecialTokens::pad, false},
    IdKey{"tokenizer.ggml.mask_token_id", &SpecialTokens::mask, false},
    IdKey{"tokenizer.ggml.fim_pre_token_id", &SpecialTokens::fim_prefix, false},
    IdKey{"tokenizer.ggml.fim_suf_token_id", &SpecialTokens::fim_suffix, false},
    IdKey{"tokenizer.ggml.fim_mid_token_id", &SpecialTokens::fim_middle, false},
    IdKey{"tokenizer.ggml.fim_pad_token_id", &SpecialTokens::fim_pad, false},
    IdKey{"tokenizer.ggml.fim_rep_token_id", &SpecialTokens::fim_repo, false},
    IdKey{"tokenizer.ggml.fim_sep_token_id", &SpecialTokens::fim_separator, false},
    IdKey{"tokenizer.ggml.prefix_token_id", &SpecialTokens::fim_prefix, false},
    IdKey{"tokenizer.ggml.suffix_token_id", &SpecialTokens::fim_suffix, false},
    IdKey{"tokenizer.ggml.middle_token_id", &SpecialTokens::fim_middle, false},
};

Error at_key(const GgufFile& file, std::string_view key, std::string what, std::string expected,
             std::string got) {
  return malformed(file.name() + ": " + std::string(key), std::move(what), std::move(expected),
                   std::move(got));
}

Result<std::vector<std::string>> read_strings(const GgufFile& file, std::string_view key) {
  TANDEM_TRY(const GgufArray* array, file.get_array(key));
  const auto* views = std::get_if<std::vector<std::string_view>>(&array->elements);
  if (views == nullptr) {
    return at_key(file, key, "wrong element type", "strings",
                  std::string(name_of(array->element_type)));
  }
  return std::vector<std::string>(views->begin(), views->end());
}

Result<std::optional<std::vector<float>>> read_scores(const GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  if (file.find(kKey) == nullptr) return std::optional<std::vector<float>>();
  TANDEM_TRY(const GgufArray* array, file.get_array(kKey));
  const auto* numbers = std::get_if<std::vector<double>>(&array->elements);
  if (numbers == nullptr) {
    return at_key(file, kKey, "wrong element type", "floats",
                  std::string(name_of(array->element_type)));
  }
  return std::optional<std::vector<float>>(std::in_place, numbers->begin(), numbers->end());
}

Result<std::optional<std::vector<std::int32_t>>> read_types(const GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  if (file.find(kKey) == nullptr) return std::optional<std::vector<std::int32_t>>();
  TANDEM_TRY(const GgufArray* array, file.get_array(kKey));
  std::vector<std::int32_t> types;
  types.reserve(array->size());
  // What does not fit becomes -1, which Vocabulary::create() refuses by index.
  if (const auto* s = std::get_if<std::vector<std::int64_t>>(&array->elements)) {
    for (const std::int64_t v : *s) types.push_back(v < 0 || v > 255 ? -1 : static_cast<int>(v));
  } else if (const auto* u = std::get_if<std::vector<std::uint64_t>>(&array->elements)) {
    for (const std::uint64_t v : *u) types.push_back(v > 255 ? -1 : static_cast<int>(v));
  } else {
    return at_key(file, kKey, "wrong element type", "integers",
                  std::string(name_of(array->element_type)));
  }
  return std::optional<std::vector<std::int32_t>>(std::move(types));
}

Result<std::optional<bool>> read_flag(const GgufFile& file, std::string_view key) {
  if (file.find(key) == nullptr) return std::optional<bool>();
  TANDEM_TRY(const bool flag, file.get_bool_or(key, false));
  return std::optional<bool>(flag);
}

Status read_ids(const GgufFile& file, std::size_t num_tokens, SpecialTokens& special) {
  for (const IdKey& id_key : kIdKeys) {
    if (file.find(id_key.key) == nullptr) continue;
    TANDEM_TRY(const std::uint64_t id, file.get_uint(id_key.key));
    if (id == kNoToken) continue;
    if (id < num_tokens) {
      special.*id_key.id = static_cast<std::int32_t>(id);
    } else if (id_key.is_required_valid) {
      return at_key(file, id_key.key, "token id outside the vocabulary",
                    "less than " + std::to_string(num_tokens), std::to_string(id));
    } else {
      spdlog::warn("{}: {} = {} lies outside the vocabulary of {} and is ignored", file.name(),
                   id_key.key, id, num_tokens);
    }
  }
  return {};
}

Error bad_field(const VocabularyFields& fields, std::string_view key, std::string what,
                std::string expected, std::string got) {
  return malformed(fields.where + ": tokenizer.ggml." + std::string(key), std::move(what),
                   std::move(expected), std::move(got));
}

Status check_lengths(const VocabularyFields& fields) {
  const std::size_t num_tokens = fields.tokens.size();
  if (num_tokens == 0 || num_tokens > std::numeric_limits<std::int32_t>::max()) {
    return bad_field(fields, "tokens", "wrong number of tokens", "1 to 2147483647",
                     std::to_string(num_tokens));
  }
  const std::string expected = std::to_string(num_tokens) + " elements, as tokens";
  if (fields.scores && fields.scores->size() != num_tokens) {
    return bad_field(fields, "scores", "wrong length", expected,
                     std::to_string(fields.scores->size()));
  }
  if (fields.types && fields.types->size() != num_tokens) {
    return bad_field(fields, "token_type", "wrong length", expected,
                     std::to_string(fields.types->size()));
  }
  return {};
}

Result<std::vector<VocabularyToken>> make_tokens(VocabularyFields& fields) {
  std::vector<VocabularyToken> tokens(fields.tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i].text = std::move(fields.tokens[i]);
    if (fields.scores) tokens[i].score = (*fields.scores)[i];
    // Not a number has no order, and merges are chosen by order.
    if (std::isnan(tokens[i].score)) {
      return bad_field(fields, "scores", "score of token " + std::to_string(i), "a number", "NaN");
    }
    if (!fields.types) continue;
    const std::int32_t type = (*fields.types)[i];
    if (type < 0 || type > static_cast<int>(TokenType::kByte)) {
      return bad_field(fields, "token_type", "type of token " + std::to_string(i), "0 to 6",
                       type < 0 ? "out of range" : std::to_string(type));
    }
    tokens[i].type = static_cast<TokenType>(type);
  }
  return tokens;
}

// The checks that `fields` filled by hand need; those read from a file have passed them.
Status check_ids(const VocabularyFields& fields, std::size_t num_tokens) {
  for (const IdKey& id_key : kIdKeys) {
    const auto& id = fields.special.*id_key.id;
    if (id && (*id < 0 || static_cast<std::size_t>(*id) >= num_tokens)) {
      return malformed(fields.where + ": " + std::string(id_key.key),
                       "token id outside the vocabulary", "less than " + std::to_string(num_tokens),
                       std::to_string(*id));
    }
  }
  return {};
}

}  // namespace

Result<VocabularyFields> read_vocabulary_fields(const GgufFile& file) {
  VocabularyFields fields;
  fields.where = file.name();
  TANDEM_TRY(const std::string_view model, file.get_string("tokenizer.ggml.model"));
  fields.model = model;
  if (file.find("tokenizer.ggml.pre") != nullptr) {
    TANDEM_TRY(const std::string_view pre, file.get_string("tokenizer.ggml.pre"));
    fields.pre = std::string(pre);
  }
  TANDEM_TRY(const std::string_view name, file.get_string_or("general.name", ""));
  fields.model_name = name;
  TANDEM_TRY(fields.tokens, read_strings(file, "tokenizer.ggml.tokens"));
  TANDEM_TRY(fields.scores, read_scores(file));
  TANDEM_TRY(fields.types, read_types(file));
  if (file.find("tokenizer.ggml.merges") != nullptr) {
    TANDEM_TRY(fields.merges, read_strings(file, "tokenizer.ggml.merges"));
  }
  TANDEM_TRY(fields.add_bos, read_flag(file, "tokenizer.ggml.add_bos_token"));
  TANDEM_TRY(fields.add_eos, read_flag(file, "tokenizer.ggml.add_eos_token"));
  TANDEM_TRY(fields.add_space_prefix, read_flag(file, "tokenizer.ggml.add_space_prefix"));
  TANDEM_TRY_STATUS(read_ids(file, fields.tokens.size(), fields.special));
  return fields;
}

Result<Vocabulary> Vocabulary::create(VocabularyFields fields) {
  Vocabulary vocabulary;
  vocabulary.special_ = fields.special;
  TANDEM_TRY_STATUS(check_lengths(fields));
  TANDEM_TRY_STATUS(check_ids(fields, fields.tokens.size()));

  if (fields.model == "llama") {
    vocabulary.model_ = TokenizerModel::kSentencePiece;
    if (!fields.scores) {
      return bad_field(fields, "scores", "missing", "a score for each token", "nothing");
    }
    vocabulary.pre_tokenizer_ = fields.pre.value_or("default");
    vocabulary.adds_bos_ = fields.add_bos.value_or(true);
    vocabulary.adds_space_prefix_ = fields.add_space_prefix.value_or(true);
    // Llama's own ids, where the file names none (llama-vocab.cpp, "default special tokens").
    const auto size = static_cast<std::int32_t>(fields.tokens.size());
    SpecialTokens& special = vocabulary.special_;
    if (!special.unk) special.unk = 0;
    if (!special.bos && size > 1) special.bos = 1;
    if (!special.eos && size > 2) special.eos = 2;
  } else if (fields.model == "gpt2") {
    vocabulary.model_ = TokenizerModel::kByteLevelBpe;
    if (!fields.merges) {
      return bad_field(fields, "merges", "missing", "the merges of a byte-level BPE vocabulary",
                       "nothing");
    }
    if (!fields.pre) {
      spdlog::warn("{}: tokenizer.ggml.pre is missing, the pre-tokenizer \"default\" is used",
                   fields.where);
    }
    vocabulary.pre_tokenizer_ = fields.pre.value_or("default");
    const PreTokenizerSpec* spec = find_pre_tokenizer(vocabulary.pre_tokenizer_);
    if (spec == nullptr) {
      return unsupported(fields.where + ": tokenizer.ggml.pre", "unknown pre-tokenizer",
                         "one of " + list_pre_tokenizers(), vocabulary.pre_tokenizer_);
    }
    vocabulary.adds_bos_ = fields.add_bos.value_or(spec->adds_bos);
    vocabulary.adds_space_prefix_ = false;
    vocabulary.merges_ = std::move(*fields.merges);
  } else {
    return unsupported(fields.where + ": tokenizer.ggml.model", "unknown tokenizer model",
                       "llama or gpt2", fields.model);
  }
  vocabulary.adds_eos_ = fields.add_eos.value_or(false);

  TANDEM_TRY(vocabulary.tokens_, make_tokens(fields));
  detect_special_tokens(vocabulary.tokens_, vocabulary.special_, fields.model_name);
  vocabulary.end_of_generation_ = detect_end_of_generation(vocabulary.tokens_, vocabulary.special_);
  return vocabulary;
}

std::optional<std::int32_t> Vocabulary::find(std::string_view text) const {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].text == text) return static_cast<std::int32_t>(i);
  }
  return std::nullopt;
}

bool Vocabulary::is_end_of_generation(std::int32_t id) const {
  return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), id);
}

}  // namespace tandem
