#pragma once

#include <string_view>

namespace tandem {

// Reads `bytes` as a recording of whatever kind they look like or, where the first is 0x80 or more,
// reads what follows it as the kind that it picks; then judges and prints what came out. Never
// fails on any bytes.
void exercise_recording(std::string_view bytes);

// Reads `bytes` as a description for doctor --build, and judges it.
void exercise_build(std::string_view bytes);

}  // namespace tandem
