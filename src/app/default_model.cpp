#include "app/default_model.h"

// The assembler copies the file into the read-only data: no generated source of 6 MB to compile.
__asm__(
    ".section .rodata\n"
    ".balign 64\n"
    "tandem_default_model_begin:\n"
    ".incbin \"" TANDEM_DEFAULT_MODEL
    "\"\n"
    "tandem_default_model_end:\n"
    ".byte 0\n"
    ".previous\n");

extern "C" const std::byte tandem_default_model_begin[] __attribute__((visibility("hidden")));
extern "C" const std::byte tandem_default_model_end[] __attribute__((visibility("hidden")));

namespace tandem {

std::span<const std::byte> default_model_image() {
  return {tandem_default_model_begin, tandem_default_model_end};
}

}  // namespace tandem
