#include "app/draft_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/units.h"

namespace tandem {
namespace {

constexpr std::int32_t kUsualDrafts = 8;

// Drafts are token ids: the same id must mean the same text in both models.
Status check_vocabularies(const Vocabulary& small, const Vocabulary& large,
                          const std::string& path) {
  for (std::int32_t id = 0; id < std::min(small.size(), large.size()); ++id) {
    if (small.token(id).text == large.token(id).text) continue;
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("the draft model has another vocabulary: token {}", id), path,
                 large.token(id).text, small.token(id).text};
  }
  return {};
}

Status check_room(const Plan& small, const Plan& large) {
  for (const StagePlan& stage : small.stages) {
    for (const RankPlan& rank : stage.ranks) {
      std::int64_t taken = 0;
      for (const StagePlan& other : large.stages) {
        for (const RankPlan& beside : other.ranks) {
          if (beside.device == rank.device) taken += beside.total_bytes();
        }
      }
      if (rank.capacity_bytes == 0 || taken + rank.total_bytes() <= rank.capacity_bytes) continue;
      return Error{ErrorCode::kDoesNotFit,
                   "there is no room for the draft model beside the large one", rank.device,
                   format_bytes(rank.capacity_bytes), format_bytes(taken + rank.total_bytes())};
    }
  }
  return {};
}

}  // namespace

std::int32_t drafts_per_step(const DraftModelOptions& options) {
  if (options.drafts.max_drafts > 0) return options.drafts.max_drafts;
  return options.model_path.empty() ? 0 : kUsualDrafts;
}

void add_draft_options(CLI::App& command, DraftModelOptions& options) {
  command
      .add_option("--draft-tokens,--draft-max,--draft", options.drafts.max_drafts,
                  "Speculate: guess this many tokens a step, by prompt lookup or the draft model")
      ->check(CLI::Range(0, 64));
  command.add_option("--model-draft", options.model_path,
                     "A small model of the same vocabulary that guesses for the large one");
  command.add_option("--device-draft,--devices-draft", options.devices,
                     "Devices of the draft model; default: those of the large one");
  command
      .add_option("--draft-p-min", options.drafts.min_probability,
                  "The draft model stops guessing below this probability")
      ->check(CLI::Range(0.0, 1.0));
}

Result<std::shared_ptr<DraftModel>> load_draft_model(const DraftModelOptions& options,
                                                     ModelOptions model_options,
                                                     const Plan& large_plan,
                                                     const Vocabulary& vocabulary) {
  model_options.model_path = options.model_path;
  model_options.plan_path.clear();
  if (!options.devices.empty()) {
    model_options.devices = options.devices;
    // Shares and splits by hand are those of the large model's devices.
    model_options.split = "auto";
    model_options.group_size.reset();
    model_options.num_stages.reset();
    model_options.tensor_split.clear();
  }
  model_options.context_tokens = large_plan.context_tokens;
  TANDEM_TRY(const OpenedModel model, open_model(options.model_path));
  TANDEM_TRY(const auto tokenizer, Tokenizer::create(*model.file));
  TANDEM_TRY_STATUS(check_vocabularies(tokenizer->vocabulary(), vocabulary, options.model_path));
  TANDEM_TRY(Plan plan, make_plan(model.spec, model_options));
  TANDEM_TRY_STATUS(check_room(plan, large_plan));
  TANDEM_TRY(auto runtime, start_runtime(model, plan, model_options));
  DraftOptions drafts = options.drafts;
  drafts.max_drafts = drafts_per_step(options);
  return std::make_shared<DraftModel>(std::move(runtime), drafts);
}

}  // namespace tandem
