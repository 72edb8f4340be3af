#pragma once

#include <spdlog/spdlog.h>

namespace tandem {

// Sends every log line to standard error, so that standard output stays the program's answer.
// level: spdlog's; warnings and errors are always shown. Call once, from main.
void set_up_logging(spdlog::level::level_enum level);

}  // namespace tandem
