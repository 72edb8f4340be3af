#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace tandem {

// The whole file; "-" is standard input. kNotFound, kIo.
Result<std::string> read_text_file(const std::string& path);

// "1,2,3". Errors name the entry that is no token id below `vocabulary_size`.
Result<std::vector<std::int32_t>> parse_token_list(const std::string& text,
                                                   std::int64_t vocabulary_size);

// "all" or "0,63": positions below `num_tokens`, ascending, without repeats.
Result<std::vector<std::int32_t>> parse_positions(const std::string& text, std::int32_t num_tokens);

}  // namespace tandem
