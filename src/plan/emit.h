#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "plan/plan.h"

namespace tandem {

// kInvalidArgument for a program that emit_command() does not know.
Status check_program(std::string_view program);

// The shell command that runs `plan` in another program: "llama-server", "vllm" or "tandem".
// `model`: the file's path, or a placeholder. kUnsupported for divisions that the program cannot
// express (uneven groups in vLLM, stages of groups in llama.cpp).
Result<std::string> emit_command(const Plan& plan, std::string_view program,
                                 const std::string& model);

}  // namespace tandem
