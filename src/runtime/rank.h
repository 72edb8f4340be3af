#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "base/trace.h"
#include "comm/deferred_arrival.h"
#include "device/logit_picker.h"
#include "device/step_recorder.h"
#include "gguf/gguf_file.h"
#include "nn/decoder.h"
#include "plan/plan.h"
#include "runtime/observed_communicator.h"
#include "runtime/runtime.h"
#include "runtime/step_queue.h"

namespace tandem {

// Where a rank stands: its plan, its device and its ways to other ranks. Links are null at the
// ends.
struct RankSeat {
  const ModelSpec* spec = nullptr;
  std::shared_ptr<const GgufFile> file;
  RankPlan plan;
  KvPlan kv;
  std::int32_t stage = 0;
  std::int32_t max_tokens = 0;  // of one micro-batch
  std::int32_t max_output_rows = 0;
  std::int64_t context_tokens = 0;
  std::unique_ptr<Device> device;
  std::unique_ptr<ObservedCommunicator> group;
  std::shared_ptr<StageLink> from_previous;  // this rank receives as its rank in the group
  std::shared_ptr<StageLink> to_next;        // the group's first rank sends
  std::shared_ptr<TraceWriter> trace;        // may be null
  // Where every stage holds rows of the output matrix: from the last stage, whose rank sends, to
  // all others; output_receiver is this rank's number there, -1 the sender's.
  std::shared_ptr<StageLink> output_link;
  int output_receiver = -1;
  // Outputs that this rank may leave to later before it begins another step.
  std::int32_t max_open_outputs = 1;
};

// One device with its shard of the weights and of the KV cache. Its thread calls load(), which
// binds it to the device, and then run(); the other functions may be called from any thread.
class Rank {
 public:
  explicit Rank(RankSeat seat);

  // Loads the shard. Blocks. on_bytes: as LoadRequest.
  Status load(const std::function<void(std::int64_t)>& on_bytes);
  // Executes steps until the queue is stopped (no error) or one fails.
  Status run(StepQueue& queue, std::int64_t deadline_us);

  // Makes this rank and those that wait for it fail with `reason`.
  void abort(const Error& reason);
  std::uint64_t num_signs() const { return seat_.group->num_signs(); }
  RankTimes times() const;
  void reset_times();
  RankMemory memory() const;

 private:
  // A step whose layers are done here and whose part of the logits is not.
  struct OpenOutput {
    std::uint64_t index = 0;
    MicroStep step;
  };

  // The rank computes logits from hidden states that the last stage sends.
  bool receives_outputs() const { return seat_.output_link && seat_.output_receiver >= 0; }
  bool must_compute_output() const;
  Status run_step(StepQueue& queue, std::uint64_t index, MicroStep step);
  Status execute(const MicroStep& step, StepQueue& queue);
  Status run_layers(const MicroStep& step);
  Status enter(const MicroStep& step);
  Status embed(const StepBatch& batch);
  Status leave(const MicroStep& step, StepQueue& queue);
  Status compute_output(StepQueue& queue);
  Status execute_output(const MicroStep& step);
  void write_logits(const MicroStep& step);
  void write_candidates(const MicroStep& step, MatrixView logits);
  void write_sums(const MicroStep& step, MatrixView logits);
  void change_logits(const MicroStep& step, MatrixView logits);
  void copy_hidden(const MicroStep& step);
  RankTimes add_times(double seconds, std::int64_t num_steps);
  void trace_step(const MicroStep& step, const char* what, const RankTimes& spent,
                  std::int64_t began_ns);

  RankSeat seat_;
  std::unique_ptr<Stream> stream_;
  StepRecorder* recorder_ = nullptr;    // stream_, if it is one
  LogitPicker* picker_ = nullptr;       // the same
  DeferredArrival* arrival_ = nullptr;  // the link from the stage before, if it is one
  std::optional<Decoder> decoder_;
  const GgufTensor* embedding_ = nullptr;
  std::vector<std::byte> embedded_rows_;  // of the step at hand
  std::deque<OpenOutput> open_outputs_;
  std::int64_t deadline_us_ = 0;
  double output_seconds_ = 0;     // since times were added
  std::int64_t idle_ns_ = 0;      // the same
  std::int32_t trace_track_ = 0;  // 0: none

  mutable std::mutex times_mutex_;
  RankTimes times_;
  CommStats last_group_;  // counters as of the last step's end
  CommStats last_from_;
  CommStats last_to_;
  CommStats last_output_;
};

}  // namespace tandem
