#include "plan/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/checked.h"
#include "base/units.h"
#include "plan/rank_bytes.h"

namespace tandem {
namespace {

// Rows of the output matrix go to ranks in such pieces, so that packed tiles stay whole.
constexpr std::int64_t kVocabularyGranule = 32;

std::vector<double> speeds_of(const std::vector<LayoutDevice>& devices) {
  std::vector<double> speeds;
  for (const LayoutDevice& device : devices) speeds.push_back(device.speed);
  return speeds;
}

// Cuts [0, total) at multiples of `granule` (the last piece may be shorter) in proportion.
std::vector<Interval> cut(std::int64_t total, std::int64_t granule,
                          const std::vector<double>& shares) {
  std::vector<Interval> intervals = apportion(ceil_div(total, granule), shares);
  for (Interval& interval : intervals) {
    interval = {std::min(interval.begin * granule, total), std::min(interval.end * granule, total)};
  }
  return intervals;
}

std::vector<Interval> cut_heads(const AttentionSpec& attention, const std::vector<double>& shares) {
  const bool groups_suffice = attention.num_kv_heads >= static_cast<std::int64_t>(shares.size());
  const std::int64_t granule = groups_suffice ? attention.q_heads_per_kv_head() : 1;
  return cut(attention.num_q_heads, granule, shares);
}

bool has_output_everywhere(const LayoutRequest& request) {
  return request.output_on_all_stages &&
         std::all_of(request.stages.begin(), request.stages.end(),
                     [](const auto& stage) { return stage.size() == 1; });
}

// Rows of the output matrix of every rank of a stage; none where the stage computes no logits.
std::vector<Interval> cut_vocabulary(const ModelSpec& spec, const LayoutRequest& request,
                                     std::size_t stage_index) {
  const auto& stage = request.stages[stage_index];
  if (has_output_everywhere(request)) {
    std::vector<double> shares;
    for (const auto& one : request.stages) shares.push_back(one.front().speed);
    return {cut(spec.vocabulary_size, kVocabularyGranule, shares)[stage_index]};
  }
  if (stage_index + 1 < request.stages.size()) return std::vector<Interval>(stage.size());
  return cut(spec.vocabulary_size, kVocabularyGranule, speeds_of(stage));
}

std::vector<RankShard> cut_stage(const ModelSpec& spec, const LayoutRequest& request,
                                 std::size_t stage_index, Interval layers) {
  const std::vector<double> shares = speeds_of(request.stages[stage_index]);
  const auto heads = cut_heads(spec.attention, shares);
  const std::int64_t width = spec.feed_forward.width;
  const std::int64_t experts = spec.feed_forward.num_experts;
  const bool by_expert = request.split_by_expert && experts > 0;
  const auto widths = cut(width, ffn_granule_of(spec), shares);
  const auto expert_cuts = cut(experts, 1, shares);
  const auto rows = cut_vocabulary(spec, request, stage_index);
  std::vector<RankShard> ranks(shares.size());
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    RankShard& rank = ranks[i];
    rank.first_layer = static_cast<std::int32_t>(layers.begin);
    rank.num_layers = static_cast<std::int32_t>(layers.size());
    rank.has_embedding = stage_index == 0;
    rank.has_output = stage_index + 1 == request.stages.size() || has_output_everywhere(request);
    rank.q_heads = heads[i];
    rank.kv_heads = kv_heads_of(spec.attention, heads[i]);
    rank.ffn = by_expert ? Interval{0, width} : widths[i];
    rank.experts = by_expert ? expert_cuts[i] : Interval{0, experts};
    rank.vocabulary = rows[i];
  }
  return ranks;
}

Status check_request(const ModelSpec& spec, const LayoutRequest& request) {
  if (request.stages.empty()) return invalid_argument("a plan needs at least one device");
  if (request.stages.size() > static_cast<std::size_t>(spec.num_layers)) {
    return invalid_argument("more pipeline stages than layers",
                            fmt::format("at most {}", spec.num_layers),
                            std::to_string(request.stages.size()));
  }
  for (const auto& stage : request.stages) {
    if (stage.empty()) return invalid_argument("a pipeline stage without a device");
    double sum = 0;
    for (const LayoutDevice& device : stage) {
      if (!std::isfinite(device.speed) || device.speed < 0) {
        return invalid_argument("a share that is no number of 0 or more for " + device.id);
      }
      sum += device.speed;
    }
    if (!(sum > 0) || !std::isfinite(sum))
      return invalid_argument("the shares of a stage's devices sum to nothing finite above zero");
  }
  if (request.max_batch_tokens < 1 || request.micro_batch_tokens < 1 || request.max_sequences < 1 ||
      request.context_tokens < 1) {
    return invalid_argument("context, sequences and batch size must be at least 1");
  }
  if (request.kv_block_tokens < 1) return invalid_argument("KV blocks need at least one token");
  const std::int64_t most_blocks = std::numeric_limits<std::int32_t>::max() / 2;
  if (request.context_tokens / request.kv_block_tokens >= most_blocks / request.max_sequences) {
    return invalid_argument(
        "context times sequences is beyond any machine",
        fmt::format("below {} KV blocks of {} tokens", most_blocks, request.kv_block_tokens),
        fmt::format("{} sequences of {} tokens", request.max_sequences, request.context_tokens));
  }
  const bool kv_known = request.kv_type == ElementType::kF16 ||
                        request.kv_type == ElementType::kF32 ||
                        request.kv_type == ElementType::kQ8_0;
  if (!kv_known) {
    return invalid_argument("KV cache type is not supported", "f16, f32 or q8_0",
                            std::string(traits_of(request.kv_type).name));
  }
  if (!bytes_of(request.kv_type, spec.attention.head_dim)) {
    return invalid_argument(
        fmt::format("KV cache type {} needs heads of a multiple of {} dims",
                    traits_of(request.kv_type).name, traits_of(request.kv_type).block_elements),
        {}, std::to_string(spec.attention.head_dim));
  }
  return {};
}

Result<std::vector<Interval>> cut_layers(const ModelSpec& spec, const LayoutRequest& request) {
  if (!request.layers_per_stage.empty()) {
    std::vector<Interval> layers;
    std::int64_t next = 0;
    for (const std::int32_t count : request.layers_per_stage) {
      if (count < 1) return invalid_argument("a pipeline stage without layers");
      layers.push_back({next, next + count});
      next += count;
    }
    if (layers.size() != request.stages.size() || next != spec.num_layers) {
      return invalid_argument(
          "layers per stage do not add up",
          fmt::format("{} stages, {} layers", request.stages.size(), spec.num_layers),
          fmt::format("{} stages, {} layers", layers.size(), next));
    }
    return layers;
  }
  std::vector<double> speeds;
  for (const auto& stage : request.stages) {
    const auto of_stage = speeds_of(stage);
    speeds.push_back(std::accumulate(of_stage.begin(), of_stage.end(), 0.0));
  }
  // One layer is each stage's for certain; the rest goes by speed.
  const auto stages = static_cast<std::int64_t>(speeds.size());
  auto layers = apportion(spec.num_layers - stages, speeds);
  for (std::int64_t i = 0; i < stages; ++i) {
    auto& interval = layers[static_cast<std::size_t>(i)];
    interval = {interval.begin + i, interval.end + i + 1};
  }
  return layers;
}

std::int32_t output_rows_of(const LayoutRequest& request) {
  return std::max(request.max_sequences, request.max_output_rows);
}

std::int32_t micro_batch_of(const LayoutRequest& request) {
  if (request.stages.size() < 2) return request.max_batch_tokens;
  return std::min(request.micro_batch_tokens, request.max_batch_tokens);
}

RankPlan plan_rank(const ModelSpec& spec, const Plan& plan, const LayoutDevice& device,
                   double share, const RankShard& shard, const RankExchange& exchange) {
  RankPlan rank;
  rank.device = device.id;
  rank.share = share;
  rank.shard = shard;
  rank.weights_bytes = weights_bytes_on(device.id, spec, shard);
  rank.kv_bytes = kv_bytes_on(device.id, spec, shard, plan.kv);
  rank.compute_bytes = compute_bytes_on(device.id, spec, shard, step_limits_of(plan), exchange);
  rank.capacity_bytes = device.capacity_bytes;
  return rank;
}

void judge_fit(Plan& plan) {
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      if (rank.capacity_bytes == 0 || rank.total_bytes() <= rank.capacity_bytes) continue;
      plan.fits = false;
      if (!plan.why_not.empty()) plan.why_not += "; ";
      plan.why_not +=
          fmt::format("{} needs {} (weights {}, KV cache {}, compute {}) and has {}: {} too little",
                      rank.device, format_bytes(rank.total_bytes()),
                      format_bytes(rank.weights_bytes), format_bytes(rank.kv_bytes),
                      format_bytes(rank.compute_bytes), format_bytes(rank.capacity_bytes),
                      format_bytes(rank.total_bytes() - rank.capacity_bytes));
    }
  }
}

SplitMode split_of(const LayoutRequest& request) {
  const std::size_t stages = request.stages.size();
  const bool grouped = std::any_of(request.stages.begin(), request.stages.end(),
                                   [](const auto& stage) { return stage.size() > 1; });
  if (stages == 1) return grouped ? SplitMode::kTensor : SplitMode::kNone;
  return grouped ? SplitMode::kHybrid : SplitMode::kLayer;
}

std::string base_name(const LayoutRequest& request, SplitMode split) {
  const std::size_t stages = request.stages.size();
  switch (split) {
    case SplitMode::kNone:
      return "one device";
    case SplitMode::kLayer:
      return fmt::format("{}-stage pipeline", stages);
    case SplitMode::kTensor:
      return fmt::format("{}-way tensor", request.stages[0].size());
    case SplitMode::kHybrid:
      break;
  }
  std::string sizes;
  for (const auto& stage : request.stages) {
    sizes += (sizes.empty() ? "" : "+") + std::to_string(stage.size());
  }
  return fmt::format("{} stages x tensor {}", stages, sizes);
}

std::string name_plan(const LayoutRequest& request, const Plan& plan) {
  const bool grouped = plan.split == SplitMode::kTensor || plan.split == SplitMode::kHybrid;
  return base_name(request, plan.split) +
         (plan.split_by_expert && grouped ? ", whole experts" : "");
}

}  // namespace

std::int64_t ffn_granule_of(const ModelSpec& spec) {
  std::int64_t granule = 1;
  for (const TensorSpec& tensor : spec.tensors) {
    if (tensor.role != TensorRole::kDown && tensor.role != TensorRole::kExpertDown) continue;
    granule = std::max<std::int64_t>(granule, traits_of(tensor.type).block_elements);
  }
  return granule;
}

Result<Plan> lay_out(const ModelSpec& spec, const LayoutRequest& request) {
  TANDEM_TRY_STATUS(check_request(spec, request));
  TANDEM_TRY(const auto layers, cut_layers(spec, request));
  Plan plan;
  plan.split = split_of(request);
  plan.kv.type = request.kv_type;
  plan.kv.block_tokens = request.kv_block_tokens;
  plan.kv.num_blocks = static_cast<std::int32_t>(
      ceil_div<std::int64_t>(request.context_tokens, request.kv_block_tokens) *
      request.max_sequences);
  plan.max_sequences = request.max_sequences;
  plan.max_batch_tokens = request.max_batch_tokens;
  plan.micro_batch_tokens = micro_batch_of(request);
  plan.max_output_rows = output_rows_of(request);
  plan.context_tokens = request.context_tokens;
  plan.split_by_expert = request.split_by_expert && spec.feed_forward.num_experts > 0;
  plan.name = name_plan(request, plan);
  for (std::size_t i = 0; i < request.stages.size(); ++i) {
    StagePlan stage;
    stage.first_layer = static_cast<std::int32_t>(layers[i].begin);
    stage.num_layers = static_cast<std::int32_t>(layers[i].size());
    const auto shards = cut_stage(spec, request, i, layers[i]);
    const auto speeds = speeds_of(request.stages[i]);
    const double sum = std::accumulate(speeds.begin(), speeds.end(), 0.0);
    const bool behind_gpu = i > 0 && is_gpu(request.stages[i - 1].front().id);
    for (std::size_t j = 0; j < shards.size(); ++j) {
      stage.ranks.push_back(plan_rank(spec, plan, request.stages[i][j], speeds[j] / sum, shards[j],
                                      {shards.size(), behind_gpu}));
    }
    plan.stages.push_back(std::move(stage));
  }
  judge_fit(plan);
  return plan;
}

}  // namespace tandem
