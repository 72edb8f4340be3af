#include <cstddef>
#include <cstdint>

#include "model_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::exercise_model({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
