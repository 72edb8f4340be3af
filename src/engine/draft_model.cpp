#include "engine/draft_model.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"

namespace tandem {
namespace {

struct Likeliest {
  std::int32_t token = 0;
  double probability = 0;
};

Likeliest likeliest_of(std::span<const float> logits) {
  const auto best = std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit - *best));
  return {static_cast<std::int32_t>(best - logits.begin()), 1.0 / sum};
}

}  // namespace

DraftModel::DraftModel(std::unique_ptr<ModelRunner> runner, const DraftOptions& options)
    : runner_(std::move(runner)), options_(options) {
  const Plan& plan = runner_->plan();
  const std::int32_t num_slots = std::clamp(plan.max_sequences, 1, plan.kv.num_blocks);
  const std::int32_t blocks = plan.kv.num_blocks / num_slots;
  slots_.resize(static_cast<std::size_t>(num_slots));
  for (std::int32_t i = 0; i < num_slots * blocks; ++i) {
    slots_[static_cast<std::size_t>(i / blocks)].blocks.push_back(i);
  }
}

void DraftModel::propose(std::span<DraftRequest> requests) {
  if (!runner_) return;
  std::vector<Work> works = begin(requests);
  const Status status = run(works);
  if (status.ok()) return;
  spdlog::error("the draft model failed, speculation ends: {}", status.error().to_string());
  runner_.reset();
  for (DraftRequest& request : requests) request.drafts.clear();
}

void DraftModel::forget(std::uint64_t id) {
  for (Slot& slot : slots_) {
    if (slot.is_taken && slot.id == id) slot.is_taken = false;
  }
}

DraftModel::Slot* DraftModel::slot_of(std::uint64_t id) {
  Slot* spare = nullptr;
  for (Slot& slot : slots_) {
    if (slot.is_taken && slot.id == id) return &slot;
    if (!slot.is_taken) spare = &slot;
  }
  if (spare == nullptr) return nullptr;
  spare->is_taken = true;
  spare->id = id;
  return spare;
}

// What each slot holds of its sequence is kept; the rest, and at least one token, is to be
// computed.
std::vector<DraftModel::Work> DraftModel::begin(std::span<DraftRequest> requests) {
  const auto block_tokens = static_cast<std::size_t>(runner_->plan().kv.block_tokens);
  std::vector<Work> works;
  for (DraftRequest& request : requests) {
    request.max_drafts = std::min(request.max_drafts, options_.max_drafts);
    if (request.max_drafts < 1) continue;
    Slot* slot = slot_of(request.id);
    if (slot == nullptr) continue;
    const std::size_t capacity = slot->blocks.size() * block_tokens;
    if (request.tokens.size() + static_cast<std::size_t>(request.max_drafts) > capacity) continue;
    const auto [kept, given] = std::ranges::mismatch(slot->tokens, request.tokens);
    auto num_kept = static_cast<std::size_t>(kept - slot->tokens.begin());
    num_kept = std::min(num_kept, request.tokens.size() - 1);
    slot->tokens.resize(num_kept);
    const auto unseen = request.tokens.subspan(num_kept);
    works.push_back({&request, slot, {unseen.begin(), unseen.end()}});
  }
  return works;
}

// All sequences side by side: first what was not seen yet, then one guess a step.
Status DraftModel::run(std::vector<Work>& works) {
  while (true) {
    std::vector<Work*> open;
    for (Work& work : works) {
      if (!work.unseen.empty()) open.push_back(&work);
    }
    if (open.empty()) return {};
    TANDEM_TRY_STATUS(step(open));
  }
}

Status DraftModel::step(std::vector<Work*>& works) {
  const Plan& plan = runner_->plan();
  auto batch = std::make_shared<StepBatch>();
  std::vector<Work*> finished;  // those whose last token's logits come
  for (Work* work : works) {
    const std::int32_t room = plan.max_batch_tokens - batch->num_tokens();
    const bool has_row = std::ssize(finished) < plan.max_output_rows;
    if (room < 1 || !has_row) break;
    const auto size = std::min<std::size_t>(static_cast<std::size_t>(room), work->unseen.size());
    const auto end = work->unseen.begin() + static_cast<std::ptrdiff_t>(size);
    const std::vector<std::int32_t> ids(work->unseen.begin(), end);
    const auto context = static_cast<std::int32_t>(work->slot->tokens.size() + size);
    const bool is_whole = size == work->unseen.size();
    append_sequence(*batch, ids, context, work->slot->blocks, plan.kv.block_tokens, is_whole);
    work->slot->tokens.insert(work->slot->tokens.end(), ids.begin(), ids.end());
    work->unseen.erase(work->unseen.begin(), end);
    if (is_whole) finished.push_back(work);
  }
  // Of each the likeliest token and how likely it is, where the device can tell these alone.
  batch->output_candidates.assign(finished.size(), 1);
  batch->output_log_sums = true;
  TANDEM_TRY(const StepResult result, runner_->step(std::move(batch)));
  for (std::size_t row = 0; row < finished.size(); ++row) take(*finished[row], result, row);
  return {};
}

// The likeliest token becomes a draft, if it is likely enough, and is computed next.
void DraftModel::take(Work& work, const StepResult& result, std::size_t row) const {
  const auto best = result.best(row);
  const Likeliest likeliest =
      best.empty() ? likeliest_of(result.row(row))
                   : Likeliest{best.front().token,
                               std::exp(double(best.front().logit) - result.log_sum(row))};
  if (likeliest.probability < double(options_.min_probability)) return;
  work.request->drafts.push_back(likeliest.token);
  if (std::ssize(work.request->drafts) < work.request->max_drafts) {
    work.unseen.push_back(work.request->drafts.back());
  }
}

}  // namespace tandem
