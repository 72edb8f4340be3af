#pragma once

#include <memory>
#include <string>

#include "app/session.h"
#include "engine/draft_model.h"

namespace tandem {

// The flags of speculation.
struct DraftModelOptions {
  std::string model_path;                   // -md; empty: no draft model
  std::string devices;                      // --device-draft; empty: those of the large model
  DraftOptions drafts = {.max_drafts = 0};  // 0: not given
};

// Tokens guessed per step: what was asked for, or with a draft model alone 8. 0: no speculation.
std::int32_t drafts_per_step(const DraftModelOptions& options);

void add_draft_options(CLI::App& command, DraftModelOptions& options);

// Loads the draft model of -md beside the large one, whose flags it shares (context, sequences,
// arithmetic). Errors: those of open_model() and start_runtime(); kInvalidArgument for another
// vocabulary; kDoesNotFit where a device has no room for both.
Result<std::shared_ptr<DraftModel>> load_draft_model(const DraftModelOptions& options,
                                                     ModelOptions model_options,
                                                     const Plan& large_plan,
                                                     const Vocabulary& vocabulary);

}  // namespace tandem
