#pragma once

#include "app/generate.h"
#include "app/sampling_options.h"

namespace tandem {

// A chat in the terminal, with history and line editing: Ctrl-C stops the answer, not the program;
// /clear forgets the conversation, /exit or Ctrl-D ends. Where standard input is no terminal, each
// of its lines is one message. Blocks until it ends.
Status run_chat(LoadedModel& model, const SamplingOptions& sampling,
                const std::string& system_prompt);

}  // namespace tandem
