#include "runtime/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tandem {
namespace {

// The next step's tokens [begin, end): bounded by tokens and by wanted rows.
std::int32_t step_end(const Plan& plan, std::int32_t begin, std::int32_t total,
                      std::span<const std::int32_t> wanted) {
  std::int32_t end = std::min(total, begin + plan.max_batch_tokens);
  const auto first = std::lower_bound(wanted.begin(), wanted.end(), begin);
  if (wanted.end() - first > plan.max_output_rows) {
    end = std::min(end, first[plan.max_output_rows]);
  }
  return end;
}

double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

}  // namespace

Status evaluate(ModelRunner& runner, std::span<const std::int32_t> tokens,
                std::span<const std::int32_t> wanted,
                const std::function<Status(std::int32_t, std::span<const float>)>& on_logits) {
  const Plan& plan = runner.plan();
  const auto total = static_cast<std::int32_t>(tokens.size());
  const std::int64_t capacity = std::int64_t{plan.kv.num_blocks} * plan.kv.block_tokens;
  if (total > capacity) {
    return invalid_argument("more tokens than the context holds",
                            fmt::format("at most {} (raise -c)", capacity), std::to_string(total));
  }
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(plan.kv.num_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  for (std::int32_t begin = 0; begin < total;) {
    const std::int32_t end = step_end(plan, begin, total, wanted);
    auto batch = std::make_shared<StepBatch>();
    const std::vector<std::int32_t> ids(tokens.begin() + begin, tokens.begin() + end);
    append_sequence(*batch, ids, end, blocks, plan.kv.block_tokens, false);
    for (const std::int32_t position : wanted) {
      if (position >= begin && position < end) batch->output_rows.push_back(position - begin);
    }
    TANDEM_TRY(const StepResult result, runner.step(batch));
    for (std::size_t row = 0; row < batch->output_rows.size(); ++row) {
      TANDEM_TRY_STATUS(on_logits(begin + batch->output_rows[row], result.row(row)));
    }
    begin = end;
  }
  return {};
}

Result<Perplexity> measure_perplexity(
    ModelRunner& runner, std::span<const std::int32_t> tokens, std::int32_t bos,
    std::int32_t window_tokens,
    const std::function<void(std::int64_t, std::int64_t)>& on_progress) {
  const std::size_t content = static_cast<std::size_t>(window_tokens) - (bos >= 0 ? 1 : 0);
  if (window_tokens < 2 || tokens.size() < 2) {
    return invalid_argument("perplexity needs at least two tokens in a window");
  }
  Perplexity result;
  double sum = 0;
  for (std::size_t begin = 0; begin < tokens.size(); begin += content) {
    std::vector<std::int32_t> window;
    if (bos >= 0) window.push_back(bos);
    const std::size_t end = std::min(tokens.size(), begin + content);
    window.insert(window.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                  tokens.begin() + static_cast<std::ptrdiff_t>(end));
    if (window.size() < 2) break;
    std::vector<std::int32_t> wanted(window.size() - 1);
    std::iota(wanted.begin(), wanted.end(), 0);
    TANDEM_TRY_STATUS(evaluate(runner, window, wanted,
                               [&](std::int32_t position, std::span<const float> logits) -> Status {
                                 const auto next = static_cast<std::size_t>(
                                     window[static_cast<std::size_t>(position) + 1]);
                                 sum += log_sum_exp(logits) - static_cast<double>(logits[next]);
                                 ++result.num_tokens;
                                 return {};
                               }));
    if (on_progress) {
      on_progress(static_cast<std::int64_t>(end), static_cast<std::int64_t>(tokens.size()));
    }
  }
  result.nll = sum / static_cast<double>(result.num_tokens);
  result.perplexity = std::exp(result.nll);
  return result;
}

}  // namespace tandem
