#pragma once

#include <cstdint>

#include "base/result.h"

namespace tandem {

class GgufFile;
class GgufWriter;

// Copies every `tokenizer.*` key of `source`. Where the model has more rows than the tokenizer has
// tokens, tokens [PADn] of the type "unused" are added, as converters do.
// Errors: kMalformed where `source` has no tokenizer, kInvalidArgument where it has more tokens
// than `vocabulary_size`.
Status copy_tokenizer(GgufWriter& writer, const GgufFile& source, std::int64_t vocabulary_size);

// A byte-level BPE tokenizer (`gpt2`) that can encode any text: the 256 bytes, made-up words of
// lower-case letters with and without a space before them, and two special tokens at the end
// (begin, end), beside a plain chat template.
// Errors: kInvalidArgument where there is no room for bytes and special tokens.
Status set_synthetic_tokenizer(GgufWriter& writer, std::int64_t vocabulary_size);

}  // namespace tandem
