#include "plan/plan.h"

#include <fmt/format.h>

namespace tandem {
namespace {

Status check_cover(const StagePlan& stage, std::size_t stage_index, std::string_view what,
                   std::int64_t total, Interval RankShard::*part) {
  std::int64_t next = 0;
  for (const RankPlan& rank : stage.ranks) {
    const Interval& interval = rank.shard.*part;
    if (interval.empty()) continue;
    if (interval.begin != next) {
      return malformed(fmt::format("plan: stage {}: device {}", stage_index, rank.device),
                       fmt::format("{} are not covered without gap or overlap", what),
                       fmt::format("to begin at {}", next), std::to_string(interval.begin));
    }
    next = interval.end;
  }
  if (next == total) return {};
  return malformed(fmt::format("plan: stage {}", stage_index),
                   fmt::format("{} are not all held", what), std::to_string(total),
                   std::to_string(next));
}

// Rows of the output matrix lie on the last stage, or on every stage of a pipeline of single
// devices.
Status check_vocabulary(const Plan& plan, const ModelSpec& spec) {
  StagePlan all;
  bool is_grouped = false;
  bool is_early = false;
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    is_grouped |= plan.stages[i].ranks.size() > 1;
    for (const RankPlan& rank : plan.stages[i].ranks) {
      is_early |= rank.shard.has_output && i + 1 < plan.stages.size();
      all.ranks.push_back(rank);
    }
  }
  if (is_early && is_grouped) {
    return malformed("plan", "an early stage computes logits", "that only of single devices",
                     "stages of several");
  }
  return check_cover(all, plan.stages.size() - 1, "vocabulary rows", spec.vocabulary_size,
                     &RankShard::vocabulary);
}

Status check_stage(const Plan& plan, std::size_t index, const ModelSpec& spec) {
  const StagePlan& stage = plan.stages[index];
  TANDEM_TRY_STATUS(
      check_cover(stage, index, "query heads", spec.attention.num_q_heads, &RankShard::q_heads));
  if (plan.split_by_expert) {
    TANDEM_TRY_STATUS(
        check_cover(stage, index, "experts", spec.feed_forward.num_experts, &RankShard::experts));
  } else {
    TANDEM_TRY_STATUS(check_cover(stage, index, "feed-forward columns", spec.feed_forward.width,
                                  &RankShard::ffn));
  }
  const bool is_last = index + 1 == plan.stages.size();
  for (const RankPlan& rank : stage.ranks) {
    const RankShard& shard = rank.shard;
    const std::string where = fmt::format("plan: stage {}: device {}", index, rank.device);
    if (shard.first_layer != stage.first_layer || shard.num_layers != stage.num_layers) {
      return malformed(where, "layers differ from its stage's");
    }
    if (shard.kv_heads != kv_heads_of(spec.attention, shard.q_heads)) {
      return malformed(where, "KV heads do not match its query heads");
    }
    const bool has_output = is_last || !shard.vocabulary.empty();
    if (shard.has_embedding != (index == 0) || shard.has_output != has_output) {
      return malformed(where, "embedding and output belong to the first and last stage");
    }
    const Interval all_experts{0, spec.feed_forward.num_experts};
    const Interval all_columns{0, spec.feed_forward.width};
    if (plan.split_by_expert ? shard.ffn != all_columns : shard.experts != all_experts) {
      return malformed(where, "experts are split by expert and by width at once");
    }
  }
  return {};
}

}  // namespace

std::string_view name_of(SplitMode mode) {
  switch (mode) {
    case SplitMode::kNone:
      return "none";
    case SplitMode::kLayer:
      return "layer";
    case SplitMode::kTensor:
      return "tensor";
    case SplitMode::kHybrid:
      return "hybrid";
  }
  return "none";
}

std::int32_t Plan::num_ranks() const {
  std::size_t total = 0;
  for (const StagePlan& stage : stages) total += stage.ranks.size();
  return static_cast<std::int32_t>(total);
}

Status validate(const Plan& plan, const ModelSpec& spec) {
  std::int32_t next_layer = 0;
  if (plan.stages.empty()) return malformed("plan", "no stages");
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const StagePlan& stage = plan.stages[i];
    if (stage.ranks.empty()) return malformed(fmt::format("plan: stage {}", i), "no devices");
    if (stage.first_layer != next_layer || stage.num_layers < 1) {
      return malformed(fmt::format("plan: stage {}", i), "layers are not covered in order",
                       fmt::format("to begin at layer {}", next_layer),
                       std::to_string(stage.first_layer));
    }
    next_layer += stage.num_layers;
    TANDEM_TRY_STATUS(check_stage(plan, i, spec));
  }
  if (next_layer != spec.num_layers) {
    return malformed("plan", "layers are not all held", std::to_string(spec.num_layers),
                     std::to_string(next_layer));
  }
  TANDEM_TRY_STATUS(check_vocabulary(plan, spec));
  if (plan.kv.num_blocks < 1 || plan.kv.block_tokens < 1 || plan.max_batch_tokens < 1 ||
      plan.micro_batch_tokens < 1 || plan.max_sequences < 1) {
    return malformed("plan", "KV blocks, batch tokens and sequences must be at least 1");
  }
  return {};
}

}  // namespace tandem
