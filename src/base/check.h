#pragma once

#include <string_view>

namespace tandem {

// Prints file, line, condition and message to standard error and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view message);

}  // namespace tandem

// An always-on check for bugs: never for input from outside, which gets a Result.
// The message is evaluated only on failure.
#define TANDEM_CHECK(condition, message)                               \
  do {                                                                 \
    if (!(condition)) [[unlikely]]                                     \
      ::tandem::check_failed(__FILE__, __LINE__, #condition, message); \
  } while (false)
