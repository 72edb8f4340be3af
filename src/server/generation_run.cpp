#include "server/generation_run.h"

#include <map>
#include <utility>

#include "base/clock.h"
#include "server/metrics.h"

namespace tandem {
namespace {

constexpr std::size_t kMostAtOnce = 64;

// What lives as long as one HTTP request's generations. On the connection's executor only.
class Run : public std::enable_shared_from_this<Run> {
 public:
  Run(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
      std::unique_ptr<AnswerWriter> writer)
      : model_(model), exchange_(std::move(exchange)), writer_(std::move(writer)) {}

  void start(std::vector<GenerationRequest> requests) {
    num_open_ = requests.size();
    pending_ = std::move(requests);
    submit_more();
    exchange_->on_gone([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->cancel();
    });
    sent_us_ = monotonic_us();
    watch_silence();
  }

 private:
  // A few at a time, so that one request with many prompts does not fill the queue.
  void submit_more() {
    while (!is_over_ && next_ < pending_.size() && num_running_ < kMostAtOnce) {
      const std::int32_t num_choices = pending_[next_].num_choices;
      const bool has_others = num_running_ > 0;
      auto id = model_.engine->submit(pending_[next_], sink(next_choice_));
      // With a full queue the next prompt follows when one before it is done.
      if (!id.ok() && id.error().code == ErrorCode::kBusy && has_others) return;
      if (!id.ok()) return fail(api_error_of(id.error()));
      ids_.push_back(*id);
      pending_[next_++] = {};
      ++num_running_;
      next_choice_ += num_choices;
    }
  }

  // Called on the engine's thread: what it leaves to do is done elsewhere.
  EventSink sink(std::int32_t first_choice) {
    return [self = shared_from_this(), first_choice](GenerationEvent event) {
      const std::int64_t now = monotonic_us();
      self->exchange_->post([self, first_choice, now, event = std::move(event)]() mutable {
        self->take(std::move(event), first_choice, now);
      });
    };
  }

  void watch_silence() {
    const std::int64_t interval_ms = model_.keep_alive_ms;
    if (interval_ms <= 0 || is_over_) return;
    const std::int64_t silent_ms = (monotonic_us() - sent_us_) / 1000;
    if (silent_ms >= interval_ms) {
      sent_us_ = monotonic_us();
      writer_->write_keep_alive();
    }
    const std::int64_t rest_ms = silent_ms >= interval_ms ? interval_ms : interval_ms - silent_ms;
    exchange_->post_after(rest_ms, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self && !self->is_over_) self->watch_silence();
    });
  }

  void take(GenerationEvent event, std::int32_t first_choice, std::int64_t now_us) {
    if (is_over_) return;
    sent_us_ = now_us;
    if (auto* text = std::get_if<TextEvent>(&event)) {
      text->choice += first_choice;
      measure(text->choice, now_us);
      writer_->write_text(*text);
    } else if (auto* finish = std::get_if<FinishEvent>(&event)) {
      // Nobody but a server that shuts down cancels what still has a reader.
      if (finish->reason == FinishReason::kCancelled) {
        return fail({503, "the server is shutting down", "unavailable_error", {}, "draining", 5});
      }
      finish->choice += first_choice;
      measure(*finish);
      const bool ends_prompt = finish->is_last;
      if (ends_prompt) --num_open_;
      finish->is_last = num_open_ == 0;
      is_over_ = finish->is_last;
      writer_->write_finish(*finish);
      if (!ends_prompt) return;
      --num_running_;
      submit_more();
    } else {
      fail(api_error_of(std::get<ErrorEvent>(event).error));
    }
  }

  void fail(const ApiError& error) {
    cancel();
    writer_->write_error(error);
  }

  void cancel() {
    is_over_ = true;
    for (const RequestId id : ids_) model_.engine->cancel(id);
  }

  void measure(std::int32_t choice, std::int64_t now_us) {
    ServerMetrics& metrics = *model_.metrics;
    const auto [last, is_first] = last_text_us_.try_emplace(choice, now_us);
    const std::int64_t since = is_first ? exchange_->request().received_us : last->second;
    Histogram& histogram = is_first ? metrics.time_to_first_token : metrics.inter_token_latency;
    histogram.observe(double(now_us - since) / 1e6);
    last->second = now_us;
  }

  void measure(const FinishEvent& finish) {
    ServerMetrics& metrics = *model_.metrics;
    metrics.queue_time.observe(double(finish.timings.queue_us) / 1e6);
    metrics.request_prompt_tokens.observe(finish.usage.prompt_tokens);
    metrics.request_generated_tokens.observe(finish.usage.completion_tokens);
    metrics.prefill_us += finish.timings.prefill_us;
    metrics.decode_us += finish.timings.decode_us;
  }

  const ServedModel& model_;
  const std::shared_ptr<HttpExchange> exchange_;
  const std::unique_ptr<AnswerWriter> writer_;
  std::vector<GenerationRequest> pending_;  // from next_ on
  std::size_t next_ = 0;
  std::int32_t next_choice_ = 0;
  std::vector<RequestId> ids_;
  std::size_t num_open_ = 0;  // prompts that are not done
  std::size_t num_running_ = 0;
  bool is_over_ = false;
  std::int64_t sent_us_ = 0;  // when something was last sent, or might have been
  std::map<std::int32_t, std::int64_t> last_text_us_;  // by choice
};

}  // namespace

void run_generation(const ServedModel& model, const std::shared_ptr<HttpExchange>& exchange,
                    std::vector<GenerationRequest> requests, std::unique_ptr<AnswerWriter> writer) {
  std::make_shared<Run>(model, exchange, std::move(writer))->start(std::move(requests));
}

}  // namespace tandem
