#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/session.h"
#include "engine/engine.h"

namespace tandem {

// A model that answers on this machine: the engine over its runtime, and what it loaded.
struct LoadedModel {
  std::shared_ptr<const GgufFile> file;
  std::shared_ptr<const Tokenizer> tokenizer;
  Plan plan;
  std::vector<RankMemory> memory;
  double load_s = 0;
  std::unique_ptr<Engine> engine;
};

// Opens, plans, loads. Blocks.
Result<LoadedModel> load_model(const ModelOptions& options);

struct Answered {
  std::string text;
  std::vector<std::int32_t> tokens;
  FinishEvent finish;
};

// Runs one request to its end; `on_text` is called on this thread with each new piece. Ctrl-C
// cancels it: the answer so far is returned with FinishReason::kCancelled.
Result<Answered> answer(Engine& engine, GenerationRequest request,
                        const std::function<void(const std::string&)>& on_text);

}  // namespace tandem
