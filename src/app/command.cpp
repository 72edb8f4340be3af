#include "app/command.h"

#include <fmt/format.h>

#include <cstdio>

namespace tandem {

int report_error(const Error& error) {
  std::fflush(stdout);
  fmt::print(stderr, "error: {}\n", error.to_string());
  return exit_code_of(error.code);
}

}  // namespace tandem
