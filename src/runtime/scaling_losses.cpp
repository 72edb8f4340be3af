#include "runtime/scaling_losses.h"

#include <algorithm>
#include <map>

#include "base/check.h"

namespace tandem {
namespace {

constexpr double kNoticeableLoss = 0.01;
constexpr double kNoticeableSlowness = 0.03;
constexpr double kThrottledBy = 0.10;

struct CauseNames {
  std::string_view name;
  std::string_view text;
};
constexpr std::array<CauseNames, kNumLossCauses> kNames = {{
    {"all_reduce_latency", "waiting at reductions"},
    {"all_reduce_bandwidth", "moving data at reductions"},
    {"stage_transfer", "moving data between stages"},
    {"bubble", "stages without work"},
    {"imbalance", "a slower rank"},
    {"throttling", "a rank that became slower"},
    {"shared_ceiling", "a ceiling that devices share"},
    {"compute", "arithmetic on smaller parts"},
    {"launch", "starting steps"},
    {"host", "the host between steps"},
    {"sampling", "sampling"},
}};

double sum_of(const RunTimes& run, double RankTimes::*field) {
  double sum = 0;
  for (const RankTimes& rank : run.ranks) sum += rank.*field;
  return sum;
}

// The rank's time outside of its steps.
double rest_of(const RunTimes& run, const RankTimes& rank) {
  const double busy =
      rank.compute + rank.wait + rank.reduce + rank.stage_wait + rank.transfer + rank.output;
  return std::max(0.0, run.wall - busy);
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Everything in seconds of devices; divided by P x T at the end.
class Accountant {
 public:
  Accountant(const RunTimes& one, const RunTimes& several, const LossContext& context)
      : one_(one), run_(several), context_(context) {}

  LossAccount account() {
    const double total = static_cast<double>(run_.ranks.size()) * run_.wall;
    out_.speedup = one_.wall / run_.wall;
    out_.efficiency = one_.wall / total;
    out_[LossCause::kAllReduceBandwidth] = sum_of(run_, &RankTimes::reduce);
    out_[LossCause::kStageTransfer] = sum_of(run_, &RankTimes::transfer);
    account_arithmetic();
    account_waits();
    account_rest();
    // What one device needs beside its arithmetic (RunTimes::wall may end later than its ranks).
    double named = 0;
    for (const double loss : out_.losses) named += loss;
    out_[run_is_pipelined() ? LossCause::kBubble : LossCause::kLaunch] += total - one_.wall - named;
    if (context_.is_throttled) {
      std::swap(out_[LossCause::kThrottling], out_[LossCause::kImbalance]);
    }
    for (double& loss : out_.losses) loss /= total;
    return out_;
  }

 private:
  bool run_is_pipelined() const { return run_.ranks.back().stage > 0; }

  // Beyond what one device computes: first the slowness of single ranks, then what the devices'
  // common ceiling explains, then the rest.
  void account_arithmetic() {
    const double alone = sum_of(one_, &RankTimes::compute);
    double fastest = 0;  // for the whole work
    double slowest = 0;
    for (std::size_t i = 0; i < run_.ranks.size(); ++i) {
      if (run_.work[i] <= 0) continue;
      const double pace = run_.ranks[i].compute / run_.work[i];
      if (fastest == 0 || pace < fastest) fastest = pace;
      if (pace <= slowest) continue;
      slowest = pace;
      out_.slowest_rank = i;
    }
    out_.slower_by = fastest > 0 ? slowest / fastest - 1 : 0;
    if (out_.slower_by < kNoticeableSlowness) out_.slowest_rank.reset();
    // A rank faster than the one device is no measure for the others.
    const double fair = std::max(fastest, alone);
    double slow = 0;
    for (std::size_t i = 0; i < run_.ranks.size(); ++i) {
      slow += std::max(0.0, run_.ranks[i].compute - run_.work[i] * fair);
    }
    out_[LossCause::kImbalance] += slow;
    const double more = sum_of(run_, &RankTimes::compute) - alone - slow;
    const double shared =
        std::clamp(alone * (context_.shared_ceiling_ratio - 1), 0.0, std::max(0.0, more));
    out_[LossCause::kSharedCeiling] = shared;
    out_[LossCause::kCompute] = more - shared;
  }

  // A wait at a reduction is the slower ranks' doing as far as they computed longer.
  void account_waits() {
    std::map<std::int32_t, double> longest;  // by stage
    for (const RankTimes& rank : run_.ranks) {
      longest[rank.stage] = std::max(longest[rank.stage], rank.compute);
    }
    for (const RankTimes& rank : run_.ranks) {
      const double explained = std::min(rank.wait, longest[rank.stage] - rank.compute);
      out_[LossCause::kImbalance] += explained;
      out_[LossCause::kAllReduceLatency] += rank.wait - explained;
    }
  }

  // Time without a step. The driver's share of it is known; a stage waits for a slower one where
  // there is always work in flight; else what is left is the bubble, or starting steps.
  void account_rest() {
    double rest = 0;
    double stage_wait = 0;
    double explained = 0;
    double longest = 0;
    for (const RankTimes& rank : run_.ranks) longest = std::max(longest, rank.compute);
    const bool is_full = run_.steps_in_flight > run_.ranks.back().stage;
    for (const RankTimes& rank : run_.ranks) {
      const double without_work = rest_of(run_, rank) + rank.stage_wait;
      rest += rest_of(run_, rank);
      stage_wait += rank.stage_wait;
      if (run_is_pipelined() && is_full) {
        explained += std::min(without_work, longest - rank.compute);
      }
    }
    const auto num_ranks = static_cast<double>(run_.ranks.size());
    const double driver = num_ranks * (run_.host + run_.sampling);
    // Work of the driver for one step may pass while ranks are at another.
    const double scale = driver > rest ? rest / driver : 1.0;
    out_[LossCause::kHost] = num_ranks * run_.host * scale - one_.host;
    out_[LossCause::kSampling] = num_ranks * run_.sampling * scale - one_.sampling;
    const double left = stage_wait + rest - driver * scale;
    const double slower_stage = std::clamp(explained, 0.0, std::max(0.0, left));
    out_[LossCause::kImbalance] += slower_stage;
    const double one_rest = rest_of(one_, one_.ranks.front()) - one_.host - one_.sampling;
    const double output =
        sum_of(run_, &RankTimes::output) - sum_of(one_, &RankTimes::output) - one_rest;
    out_[LossCause::kLaunch] = output + (run_is_pipelined() ? 0 : left - slower_stage);
    out_[LossCause::kBubble] = run_is_pipelined() ? left - slower_stage : 0;
  }

  const RunTimes& one_;
  const RunTimes& run_;
  const LossContext& context_;
  LossAccount out_;
};

}  // namespace

std::string_view name_of(LossCause cause) {
  return kNames[static_cast<std::size_t>(cause)].name;
}

std::string_view text_of(LossCause cause) {
  return kNames[static_cast<std::size_t>(cause)].text;
}

std::optional<LossCause> LossAccount::main_cause() const {
  const auto largest = std::max_element(losses.begin(), losses.end());
  if (*largest < kNoticeableLoss) return std::nullopt;
  return static_cast<LossCause>(largest - losses.begin());
}

RunTimes as_one_device(const RunTimes& pipeline) {
  if (pipeline.ranks.size() == 1) return pipeline;
  RunTimes one;
  one.host = pipeline.host;
  one.sampling = pipeline.sampling;
  one.work = {1.0};
  RankTimes& rank = one.ranks.emplace_back();
  rank.device = pipeline.ranks.front().device;
  rank.compute = sum_of(pipeline, &RankTimes::compute);
  rank.output = sum_of(pipeline, &RankTimes::output);
  one.wall = rank.compute + rank.output + one.host + one.sampling;
  return one;
}

LossAccount account_for_losses(const RunTimes& one, const RunTimes& several,
                               const LossContext& context) {
  TANDEM_CHECK(one.ranks.size() == 1 && !several.ranks.empty(), "one rank against several");
  TANDEM_CHECK(several.work.size() == several.ranks.size(), "every rank has its work");
  TANDEM_CHECK(one.wall > 0 && several.wall > 0, "runs take time");
  return Accountant(one, several, context).account();
}

std::optional<std::size_t> find_throttled_rank(const std::vector<std::vector<double>>& compute) {
  const std::size_t third = compute.size() / 3;
  if (third < 2) return std::nullopt;
  const std::size_t num_ranks = compute.front().size();
  const auto median_of = [&](std::size_t rank, std::size_t begin) {
    std::vector<double> values;
    for (std::size_t i = begin; i < begin + third; ++i) values.push_back(compute[i][rank]);
    return median(std::move(values));
  };
  std::vector<double> growth;
  for (std::size_t rank = 0; rank < num_ranks; ++rank) {
    const double before = median_of(rank, 0);
    growth.push_back(before > 0 ? median_of(rank, compute.size() - third) / before : 1.0);
  }
  const auto worst = std::max_element(growth.begin(), growth.end());
  const double usual = num_ranks == 1 ? 1.0 : *std::min_element(growth.begin(), growth.end());
  if (*worst < (1 + kThrottledBy) * std::max(1.0, usual)) return std::nullopt;
  return static_cast<std::size_t>(worst - growth.begin());
}

}  // namespace tandem
