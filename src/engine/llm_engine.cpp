#include "engine/llm_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/answer.h"
#include "engine/greedy_sampler.h"
#include "engine/prompt_lookup.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

SchedulerOptions scheduler_options(const Plan& plan, const EngineOptions& options) {
  SchedulerOptions result;
  result.block_tokens = plan.kv.block_tokens;
  result.num_blocks = plan.kv.num_blocks;
  result.max_sequences = plan.max_sequences;
  result.max_batch_tokens = plan.max_batch_tokens;
  result.max_output_rows = plan.max_output_rows;
  result.max_in_flight = static_cast<std::int32_t>(plan.stages.size());
  result.prefix_cache = options.prefix_cache;
  result.max_decode_slowdown = options.max_decode_slowdown;
  return result;
}

std::int32_t max_context(const Plan& plan) {
  const auto room = std::int64_t{plan.kv.num_blocks} * plan.kv.block_tokens;
  return static_cast<std::int32_t>(plan.context_tokens > 0 ? std::min(plan.context_tokens, room)
                                                           : room);
}

}  // namespace

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfText:
    case FinishReason::kStopText:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

LlmEngine::LlmEngine(std::unique_ptr<ModelRunner> runner,
                     std::shared_ptr<const Tokenizer> tokenizer, EngineOptions options)
    : runner_(std::move(runner)),
      tokenizer_(std::move(tokenizer)),
      options_(std::move(options)),
      max_context_tokens_(max_context(runner_->plan())),
      vocabulary_size_(runner_->vocabulary_size()),
      max_in_flight_(std::max<std::int32_t>(1, std::int32_t(runner_->plan().stages.size()))),
      scheduler_(scheduler_options(runner_->plan(), options_)),
      trace_(options_.trace) {
  if (options_.make_sampler) return;
  options_.make_sampler = [](const SamplingParams& params) {
    return std::make_unique<GreedySampler>(params);
  };
}

LlmEngine::~LlmEngine() = default;

// The whole system in three calls.
bool LlmEngine::step() {
  while (!failure_ && static_cast<std::int32_t>(flights_.size()) < max_in_flight_) {
    ScheduledStep step = scheduler_.schedule();
    if (step.is_empty()) break;
    submit(std::move(step));
  }
  if (flights_.empty()) return false;
  const Flight flight = std::move(flights_.front());
  flights_.pop_front();
  Result<StepResult> result = runner_->wait(flight.number);
  if (result.ok()) {
    commit(flight, *result);
  } else if (result.error().code == ErrorCode::kInternal) {
    fail_flight(flight, result.error());
  } else {
    flights_.push_front(flight);
    fail_runner(result.error());
  }
  return true;
}

void LlmEngine::submit(ScheduledStep step) {
  const std::int64_t now = monotonic_us();
  for (const ScheduledSequence& scheduled : step.sequences) {
    Answer& answer = *answers_.at(scheduled.sequence->arrival);
    if (answer.started_us == 0) answer.started_us = now;
  }
  const auto number = runner_->submit(step.batch);
  if (number.ok()) {
    flights_.push_back({*number, now, std::move(step)});
  } else if (number.error().code == ErrorCode::kInternal) {
    fail_flight({0, now, std::move(step)}, number.error());
  } else {
    flights_.push_back({0, now, std::move(step)});
    fail_runner(number.error());
  }
}

void LlmEngine::commit(const Flight& flight, StepResult& result) {
  const std::int64_t begin = monotonic_us();
  const ScheduledStep& step = flight.step;
  scheduler_.finish(step, begin - flight.submitted_us);
  for (const ScheduledSequence& scheduled : step.sequences) {
    Answer& answer = *answers_.at(scheduled.sequence->arrival);
    if (answer.is_doomed) {
      drop(answer);
    } else if (answer.sequence.pooling != Pooling::kNone) {
      take_hidden(answer, scheduled, result);
    } else if (scheduled.first_row >= 0) {
      take_tokens(answer, scheduled, result);
    }
  }
  propose_by_model();
  ++counters_.steps;
  counters_.step_us += begin - flight.submitted_us;
  counters_.batched_sequences += static_cast<std::int64_t>(step.sequences.size());
  if (step.num_prefill_tokens > 0) {
    ++counters_.steps_with_prompts;
    counters_.step_us_with_prompts += begin - flight.submitted_us;
  }
  const std::int64_t end = monotonic_us();
  counters_.engine_us += end - begin;
  trace_.add_step(flight.number, max_in_flight_, step, flight.submitted_us, begin);
  trace_.add_commit(begin, end);
}

void LlmEngine::take_hidden(Answer& answer, const ScheduledSequence& scheduled,
                            const StepResult& result) {
  const Sequence& sequence = answer.sequence;
  if (sequence.num_computed == scheduled.num_tokens) answer.hidden.start_over();
  for (std::int32_t i = 0; i < scheduled.num_hidden_rows; ++i) {
    answer.hidden.add(result.hidden_row(static_cast<std::size_t>(scheduled.first_hidden_row + i)));
  }
  if (sequence.num_remaining() > 0) return;
  answer.first_token_us = answer.last_token_us = monotonic_us();
  counters_.prompt_tokens += answer.usage.prompt_tokens;
  counters_.cached_prompt_tokens += sequence.num_cached_tokens;
  finish(answer, FinishReason::kEndOfText);
}

// One token, and with speculation as many more as drafts were right. A draft is right when it is
// what the sampler chose at its place, so the distribution is that of the model alone.
void LlmEngine::take_tokens(Answer& answer, const ScheduledSequence& scheduled,
                            StepResult& result) {
  Sequence& sequence = answer.sequence;
  if (answer.max_tokens == 0) return finish(answer, FinishReason::kLength);
  const std::vector<std::int32_t> drafts = std::exchange(sequence.drafts, {});
  const auto size = static_cast<std::size_t>(result.vocabulary_size);
  answer.usage.drafted_tokens += scheduled.num_drafts;
  counters_.drafted_tokens += scheduled.num_drafts;
  for (std::int32_t i = 0; i <= scheduled.num_drafts; ++i) {
    const auto row = static_cast<std::size_t>(scheduled.first_row + i);
    const std::span<const TokenLogit> best = result.best(row);
    SampledToken sampled = best.empty()
                               ? sample(answer, std::span(result.logits).subspan(row * size, size))
                               : answer.sampler->sample_best(best, result.log_sum(row));
    if (!take_token(answer, std::move(sampled))) return;
    if (i == scheduled.num_drafts) break;
    if (sequence.tokens.back() != drafts[static_cast<std::size_t>(i)]) break;
    ++sequence.num_computed;
    ++answer.usage.accepted_tokens;
    ++counters_.accepted_tokens;
  }
  propose_drafts(answer);
}

SampledToken LlmEngine::sample(Answer& answer, std::span<float> logits) {
  if (answer.constraint) answer.constraint->mask(logits);
  return answer.sampler->sample(logits);
}

// False: the answer is complete.
bool LlmEngine::take_token(Answer& answer, SampledToken sampled) {
  const std::int32_t token = sampled.token;
  answer.sampler->accept(token);
  answer.sequence.tokens.push_back(token);
  ++answer.usage.completion_tokens;
  ++counters_.generated_tokens;
  answer.last_token_us = monotonic_us();
  if (answer.first_token_us == 0) {
    answer.first_token_us = answer.last_token_us;
    counters_.prompt_tokens += answer.usage.prompt_tokens;
    counters_.cached_prompt_tokens += answer.sequence.num_cached_tokens;
    start_followers(answer);
  }

  const GenerationRequest& request = answer.generation->request;
  const bool ends =
      tokenizer_ && !request.ignore_eos && tokenizer_->vocabulary().is_end_of_generation(token);
  if (ends) {
    finish(answer, FinishReason::kEndOfText);
    return false;
  }
  if (answer.constraint) answer.constraint->accept(token);
  answer.text.push(std::move(sampled));
  if (answer.text.stop_text() != nullptr) {
    finish(answer, FinishReason::kStopText);
    return false;
  }
  if (answer.usage.completion_tokens >= answer.max_tokens) {
    finish(answer, FinishReason::kLength);
    return false;
  }
  if (auto event = answer.text.take(answer.choice)) answer.generation->sink(std::move(*event));
  return true;
}

void LlmEngine::propose_drafts(Answer& answer) {
  const std::int32_t left = answer.max_tokens - answer.usage.completion_tokens - 1;
  const std::int32_t most = std::min(options_.draft_tokens, left);
  if (most < 1) return;
  if (options_.draft_model) {
    undrafted_.push_back(answer.sequence.arrival);
  } else {
    answer.sequence.drafts = look_up_drafts(answer.sequence.tokens, most);
  }
}

// For all answers of a step at once: the small model computes them side by side.
void LlmEngine::propose_by_model() {
  if (undrafted_.empty()) return;
  std::vector<DraftRequest> requests;
  for (const std::uint64_t arrival : undrafted_) {
    const Answer& answer = *answers_.at(arrival);
    const std::int32_t left = answer.max_tokens - answer.usage.completion_tokens - 1;
    requests.push_back({.id = arrival,
                        .tokens = answer.sequence.tokens,
                        .max_drafts = std::min(options_.draft_tokens, left)});
  }
  options_.draft_model->propose(requests);
  for (DraftRequest& request : requests) {
    auto& drafts = answers_.at(request.id)->sequence.drafts;
    drafts = std::move(request.drafts);
    // Ids that only the small model knows guess nothing.
    const auto foreign = std::ranges::find_if(
        drafts, [this](std::int32_t token) { return token >= vocabulary_size_; });
    drafts.erase(foreign, drafts.end());
  }
  undrafted_.clear();
}

Status LlmEngine::check(const GenerationRequest& request) const {
  const auto length = static_cast<std::int64_t>(request.prompt.size());
  if (length == 0) return invalid_argument("the prompt is empty");
  // Room for one token of the answer, where there is one.
  const std::int64_t most = max_context_tokens_ - (request.pooling == Pooling::kNone ? 1 : 0);
  if (length > most) {
    return invalid_argument("the prompt does not fit the context",
                            fmt::format("at most {} tokens", most),
                            fmt::format("{} tokens", length));
  }
  for (const std::int32_t token : request.prompt) {
    if (token >= 0 && token < vocabulary_size_) continue;
    return invalid_argument("a token of the prompt is outside the vocabulary",
                            fmt::format("0 to {}", vocabulary_size_ - 1), std::to_string(token));
  }
  if (request.pooling != Pooling::kNone && request.num_choices != 1) {
    return invalid_argument("the number of embeddings of a prompt", "1",
                            std::to_string(request.num_choices));
  }
  if (request.num_choices < 1 || request.num_choices > kMaxChoices) {
    return invalid_argument("the number of answers", fmt::format("1 to {}", kMaxChoices),
                            std::to_string(request.num_choices));
  }
  TANDEM_TRY([[maybe_unused]] const auto stop, StopStrings::create(request.stop));
  return {};
}

void LlmEngine::add(RequestId id, GenerationRequest request, EventSink sink) {
  auto generation = std::make_shared<Generation>();
  generation->id = id;
  generation->request = std::move(request);
  generation->sink = std::move(sink);
  if (failure_) {
    generation->sink(ErrorEvent{*failure_});
    return;
  }
  const GenerationRequest& wanted = generation->request;
  generation->num_open = wanted.num_choices;
  const auto length = static_cast<std::int32_t>(wanted.prompt.size());
  const std::int32_t room = max_context_tokens_ - length;
  for (std::int32_t choice = 0; choice < wanted.num_choices; ++choice) {
    SamplingParams sampling = wanted.sampling;
    sampling.seed += static_cast<std::uint64_t>(choice);
    auto stop = StopStrings::create(wanted.stop);
    TANDEM_CHECK(stop.ok(), "a request that was not checked");
    auto answer = std::make_unique<Answer>(
        Answer{.generation = generation,
               .choice = choice,
               .sequence = {},
               .sampler = options_.make_sampler(sampling),
               .constraint = wanted.make_constraint ? wanted.make_constraint() : nullptr,
               .text = {tokenizer_.get(), wanted.render_special, std::move(*stop)}});
    answer->max_tokens = wanted.max_tokens < 0 ? room : std::min(wanted.max_tokens, room);
    answer->submitted_us = monotonic_us();
    answer->usage.prompt_tokens = length;
    answer->sequence.arrival = next_arrival_++;
    answer->sequence.tokens = wanted.prompt;
    answer->sequence.num_prompt_tokens = length;
    // Of tokens that come out of the cache there are no hidden states.
    const bool needs_all = wanted.pooling == Pooling::kMean || wanted.pooling == Pooling::kFirst;
    answer->sequence.may_share = wanted.cache_prompt && !needs_all;
    answer->sequence.pooling = wanted.pooling;
    answer->sequence.num_candidates = answer->constraint ? 0 : answer->sampler->num_candidates();
    answer->sequence.wants_log_sum = answer->sampler->wants_log_sum();
    answer->sequence.add_changes = [sampler = answer->sampler.get()](
                                       std::span<const std::int32_t> ahead, std::int32_t row,
                                       std::vector<LogitChange>& changes) {
      sampler->add_changes(ahead, row, changes);
    };
    for (const std::int32_t token : wanted.prompt) answer->sampler->accept(token);
    Answer& added = *answer;
    answers_.emplace(added.sequence.arrival, std::move(answer));
    if (choice == 0) {
      added.is_queued = true;
      scheduler_.add(added.sequence);
    }
  }
}

void LlmEngine::start_followers(const Answer& answer) {
  if (answer.choice != 0) return;
  // A request's answers arrived in a row.
  for (std::int32_t i = 1; i < answer.generation->request.num_choices; ++i) {
    const auto found = answers_.find(answer.sequence.arrival + static_cast<std::uint64_t>(i));
    if (found == answers_.end() || found->second->is_queued) continue;
    found->second->is_queued = true;
    scheduler_.add(found->second->sequence);
  }
}

void LlmEngine::finish(Answer& answer, FinishReason reason) {
  Generation& generation = *answer.generation;
  if (answer.text.stop_text() == nullptr) answer.text.flush();
  // The flushed text may have completed a stop string.
  const bool is_stopped = answer.text.stop_text() != nullptr;
  if (is_stopped && reason != FinishReason::kCancelled) reason = FinishReason::kStopText;
  if (auto event = answer.text.take(answer.choice)) generation.sink(std::move(*event));

  FinishEvent event{.choice = answer.choice, .reason = reason};
  if (is_stopped) event.stop_text = *answer.text.stop_text();
  answer.usage.cached_tokens = answer.sequence.num_cached_tokens;
  event.usage = answer.usage;
  event.embedding = answer.hidden.take();
  const std::int64_t now = monotonic_us();
  const std::int64_t started = answer.started_us == 0 ? now : answer.started_us;
  const std::int64_t first = answer.first_token_us == 0 ? now : answer.first_token_us;
  event.timings.queue_us = started - answer.submitted_us;
  event.timings.prefill_us = first - started;
  event.timings.decode_us = std::max<std::int64_t>(0, answer.last_token_us - first);
  event.is_last = --generation.num_open == 0;
  generation.is_over = event.is_last;
  if (event.is_last) {
    ++(reason == FinishReason::kCancelled ? counters_.requests_cancelled
                                          : counters_.requests_finished);
  }
  generation.sink(std::move(event));
  drop(answer);
}

// Forgets an answer whose last event is out; now, or when the ranks are done with it.
void LlmEngine::drop(Answer& answer) {
  answer.is_doomed = true;
  if (answer.sequence.in_flight) return;
  scheduler_.remove(answer.sequence);
  if (options_.draft_model) options_.draft_model->forget(answer.sequence.arrival);
  answers_.erase(answer.sequence.arrival);
}

void LlmEngine::cancel(RequestId id) {
  std::vector<Answer*> open;
  for (const auto& [arrival, answer] : answers_) {
    if (answer->generation->id == id && !answer->is_doomed) open.push_back(answer.get());
  }
  for (Answer* answer : open) finish(*answer, FinishReason::kCancelled);
}

void LlmEngine::cancel_all() {
  std::vector<Answer*> open;
  for (const auto& [arrival, answer] : answers_) {
    if (!answer->is_doomed) open.push_back(answer.get());
  }
  for (Answer* answer : open) finish(*answer, FinishReason::kCancelled);
}

}  // namespace tandem
