#include "app/generate.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "app/interrupt.h"
#include "base/clock.h"
#include "engine/sampler.h"

namespace tandem {
namespace {

// Carries events from the engine's thread, which must not block, to the caller's.
class EventQueue {
 public:
  void push(GenerationEvent event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    ready_.notify_one();
  }

  // The next event, or nullopt after 50 ms without one: time to look at Ctrl-C.
  std::optional<GenerationEvent> pop() {
    std::unique_lock lock(mutex_);
    if (!ready_.wait_for(lock, std::chrono::milliseconds(50), [&] { return !events_.empty(); })) {
      return std::nullopt;
    }
    GenerationEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<GenerationEvent> events_;
};

}  // namespace

Result<LoadedModel> load_model(const ModelOptions& options) {
  const std::int64_t began = monotonic_us();
  TANDEM_TRY(const OpenedModel opened, open_model(options.model_path));
  LoadedModel model;
  model.file = opened.file;
  TANDEM_TRY(auto tokenizer, Tokenizer::create(*opened.file));
  model.tokenizer = std::move(tokenizer);
  TANDEM_TRY(model.plan, make_plan(opened.spec, options));
  TANDEM_TRY(auto runtime, start_runtime(opened, model.plan, options));
  model.memory = runtime->memory();
  EngineOptions engine_options;
  engine_options.make_sampler = make_sampler_factory(model.tokenizer);
  model.engine = std::make_unique<Engine>(std::move(runtime), model.tokenizer, engine_options);
  model.load_s = static_cast<double>(monotonic_us() - began) * 1e-6;
  return model;
}

Result<Answered> answer(Engine& engine, GenerationRequest request,
                        const std::function<void(const std::string&)>& on_text) {
  // Shared: the engine may still hold the sink when this function has returned on an error.
  auto events = std::make_shared<EventQueue>();
  InterruptWatch interrupt;
  TANDEM_TRY(const RequestId id, engine.submit(std::move(request), [events](GenerationEvent event) {
    events->push(std::move(event));
  }));
  Answered answered;
  while (true) {
    if (interrupt.take()) engine.cancel(id);
    auto event = events->pop();
    if (!event) continue;
    if (const auto* text = std::get_if<TextEvent>(&*event)) {
      for (const GeneratedToken& token : text->tokens) answered.tokens.push_back(token.token);
      answered.text += text->text;
      if (on_text && !text->text.empty()) on_text(text->text);
    } else if (const auto* finish = std::get_if<FinishEvent>(&*event)) {
      answered.finish = *finish;
      return answered;
    } else if (const auto* failed = std::get_if<ErrorEvent>(&*event)) {
      return failed->error;
    }
  }
}

}  // namespace tandem
