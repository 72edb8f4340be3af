#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/result.h"
#include "engine/llm_engine.h"

namespace tandem {

// An LlmEngine with a thread of its own, for callers on any thread. Uses no CPU while there is
// nothing to do.
class Engine {
 public:
  // runner, tokenizer, options: as LlmEngine.
  Engine(std::unique_ptr<ModelRunner> runner, std::shared_ptr<const Tokenizer> tokenizer,
         EngineOptions options);
  // Cancels what is left, and waits for the step in flight.
  ~Engine();

  // Queues a request; its events go to `sink` on the engine's thread. Does not wait for a step.
  // Errors: kInvalidArgument (it can never run), kBusy (too many wait already; try again later),
  // the runner's where it has failed for good.
  Result<RequestId> submit(GenerationRequest request, EventSink sink);
  // Ends a request before the next step. Its last event still comes, unless it is out already.
  void cancel(RequestId id);
  void cancel_all();

  // As of the latest step.
  EngineStats stats() const;
  // Requests whose last event is not out.
  std::int32_t num_open() const;

 private:
  struct Submission {
    RequestId id = 0;
    GenerationRequest request;
    EventSink sink;
  };
  struct Inbox {
    std::vector<Submission> submissions;
    std::vector<RequestId> cancellations;
    bool cancel_all = false;
    bool stop = false;

    bool is_empty() const {
      return submissions.empty() && cancellations.empty() && !cancel_all && !stop;
    }
  };

  void run();
  Inbox take_inbox(bool may_sleep);
  void handle(Inbox inbox);
  void publish_stats(bool is_idle);
  EventSink counted(RequestId id, EventSink sink);

  LlmEngine engine_;
  std::int32_t max_open_;
  // The engine's thread only: the latest figures of the ranks.
  std::int64_t ranks_measured_us_ = 0;
  std::vector<RankTimes> ranks_;
  std::vector<RankMemory> memory_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Inbox inbox_;               // guarded by mutex_
  EngineStats stats_;         // guarded by mutex_
  RequestId next_id_ = 1;     // guarded by mutex_
  std::set<RequestId> open_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace tandem
