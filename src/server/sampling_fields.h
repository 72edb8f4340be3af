#pragma once

#include "engine/generation.h"
#include "server/field_reader.h"

namespace tandem {

class Tokenizer;

// The sampling fields that OpenAI and llama-server have, under their names: temperature, top_p,
// top_k, min_p, ..., logit_bias, seed, stop, ignore_eos, cache_prompt. Draws a seed where none is
// given. Errors stay with the reader.
void read_sampling(FieldReader& reader, const Tokenizer& tokenizer, GenerationRequest& request);

std::uint64_t draw_seed();

}  // namespace tandem
