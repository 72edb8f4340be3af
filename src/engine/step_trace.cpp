#include "engine/step_trace.h"

#include <fmt/format.h>

namespace tandem {

void StepTrace::add_step(std::int64_t number, std::int32_t num_in_flight, const ScheduledStep& step,
                         std::int64_t submitted_us, std::int64_t done_us) {
  if (!writer_) return;
  const auto place = static_cast<std::size_t>(number % std::max(1, num_in_flight));
  while (step_tracks_.size() <= place) step_tracks_.push_back(writer_->add_track("steps"));
  const std::int32_t drafts = step.batch->num_tokens() - step.num_decodes - step.num_prefill_tokens;
  const std::string arguments =
      fmt::format(R"("step":{},"sequences":{},"decodes":{},"prefill_tokens":{},"draft_tokens":{})",
                  number, step.sequences.size(), step.num_decodes, step.num_prefill_tokens, drafts);
  writer_->add_span(step_tracks_[place], step.num_prefill_tokens > 0 ? "prefill" : "decode",
                    submitted_us * 1000, done_us * 1000, arguments);
}

void StepTrace::add_commit(std::int64_t begin_us, std::int64_t end_us) {
  if (!writer_) return;
  if (commit_track_ == 0) commit_track_ = writer_->add_track("engine");
  writer_->add_span(commit_track_, "commit", begin_us * 1000, end_us * 1000);
}

}  // namespace tandem
