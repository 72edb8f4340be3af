#include <cstddef>
#include <cstdint>

#include "recording_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::exercise_recording({reinterpret_cast<const char*>(data), size});
  return 0;
}
