#include <cstddef>
#include <cstdint>

#include "tokenizer_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::exercise_tokenizers({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
