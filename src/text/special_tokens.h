#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace tandem {

// Many files name few of their special tokens in their metadata; the rest is told by their text,
// with the lists of llama.cpp (llama-vocab.cpp, "auto-detect special tokens by text").

// Fills the roles of `special` that are empty where a token has a text known for the role, and
// makes such tokens control tokens. `model_name`: general.name.
void detect_special_tokens(std::vector<VocabularyToken>& tokens, SpecialTokens& special,
                           std::string_view model_name);

// The ids that end an answer, ascending; tokens known by their text to do so become control tokens.
// Call after detect_special_tokens().
std::vector<std::int32_t> detect_end_of_generation(std::vector<VocabularyToken>& tokens,
                                                   const SpecialTokens& special);

}  // namespace tandem
