#include "runtime/rank.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "model/tensor_names.h"
#include "runtime/weight_loader.h"

namespace tandem {
namespace {

double seconds_of(std::int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) * 1e-9;
}

// Of a step that is recorded: what decodes together, one recording for each number.
constexpr std::int64_t kRecordedTokens = 64;

CommStats operator-(const CommStats& now, const CommStats& before) {
  CommStats delta;
  delta.wait_seconds = now.wait_seconds - before.wait_seconds;
  delta.move_seconds = now.move_seconds - before.move_seconds;
  delta.sent_bytes = now.sent_bytes - before.sent_bytes;
  return delta;
}

// A failure that is not another rank's, with the step in which it showed. What a communicator or
// link meets has no name of a device yet.
Error in_step(const Status& status, const std::string& device, std::uint64_t index,
              const MicroStep& step) {
  Error error = status.error();
  if (error.code == ErrorCode::kPeerLost || error.code == ErrorCode::kCancelled) return error;
  error.what += fmt::format(" (in step {}, of {} tokens)", index, step.batch->num_tokens());
  const bool is_of_device = error.code != ErrorCode::kDeadline && error.where.empty();
  return is_of_device ? error.at(device) : error;
}

std::int64_t num_output_rows(const MicroStep& step) {
  return static_cast<std::int64_t>(step.batch->output_rows.size());
}

}  // namespace

Rank::Rank(RankSeat seat)
    : seat_(std::move(seat)), arrival_(dynamic_cast<DeferredArrival*>(seat_.from_previous.get())) {
  times_.device = seat_.plan.device;
  times_.stage = seat_.stage;
}

Status Rank::load(const std::function<void(std::int64_t)>& on_bytes) {
  Device& device = *seat_.device;
  const RankShard& shard = seat_.plan.shard;
  device.bind_thread();
  stream_ = device.create_stream();
  recorder_ = dynamic_cast<StepRecorder*>(stream_.get());
  picker_ = dynamic_cast<LogitPicker*>(stream_.get());
  const LoadRequest request{*seat_.spec, *seat_.file, shard, seat_.context_tokens, on_bytes};
  TANDEM_TRY(DecoderParameters parameters, load_parameters(request, device, *stream_));
  const ActivationSizes sizes =
      activation_sizes_of(*seat_.spec, shard, seat_.max_tokens, seat_.max_output_rows);
  TANDEM_TRY(Activations activations, Activations::create(device, *stream_, sizes));
  const KvCache::Geometry geometry{seat_.kv.type, seat_.kv.num_blocks, seat_.kv.block_tokens};
  TANDEM_TRY(KvCache cache, KvCache::create(device, *seat_.spec, shard, geometry));
  decoder_.emplace(*seat_.spec, shard, std::move(parameters), std::move(activations),
                   std::move(cache));
  const std::string name = tensor_name(TensorRole::kTokenEmbedding, -1);
  embedding_ = seat_.file->find_tensor(name);
  // What loading has left of the file goes now.
  for (const GgufTensor& tensor : seat_.file->tensors()) seat_.file->release_pages(tensor.data);
  return {};
}

// Logits that can be computed come before another step's layers: somebody waits for a token. Those
// that cannot yet are waited for only where too many are open, so that this stage has work while
// the later ones are at the steps before.
Status Rank::run(StepQueue& queue, std::int64_t deadline_us) {
  deadline_us_ = deadline_us;
  for (std::uint64_t index = 0;;) {
    if (must_compute_output()) {
      TANDEM_TRY_STATUS(compute_output(queue));
      continue;
    }
    auto step = queue.take(index, idle_ns_, [this] { return must_compute_output(); });
    if (!step && queue.is_stopped()) return {};
    if (step) TANDEM_TRY_STATUS(run_step(queue, index++, *std::move(step)));
  }
}

bool Rank::must_compute_output() const {
  if (open_outputs_.empty()) return false;
  return static_cast<std::int32_t>(open_outputs_.size()) >= seat_.max_open_outputs ||
         seat_.output_link->has_message(seat_.output_receiver);
}

Status Rank::run_step(StepQueue& queue, std::uint64_t index, MicroStep step) {
  const std::int64_t began = monotonic_ns();
  if (Status status = execute(step, queue); !status.ok()) {
    return in_step(status, seat_.plan.device, index, step);
  }
  const RankTimes spent = add_times(seconds_of(monotonic_ns() - began), 1);
  if (seat_.trace) trace_step(step, "compute", spent, began);
  seat_.group->sign();
  if (receives_outputs() && num_output_rows(step) > 0) {
    open_outputs_.push_back({index, std::move(step)});
  } else {
    queue.finish(index);
  }
  return {};
}

Status Rank::execute(const MicroStep& step, StepQueue& queue) {
  decoder_->begin(*stream_, *step.batch);
  TANDEM_TRY_STATUS(enter(step));
  seat_.group->begin_step();  // waiting for the stage before is no arithmetic of this rank
  TANDEM_TRY_STATUS(run_layers(step));
  TANDEM_TRY_STATUS(leave(step, queue));
  // The deadline of this rank's own work begins when there is something to work with.
  if (arrival_ != nullptr) TANDEM_TRY_STATUS(arrival_->wait_for_arrival(seat_.group->rank()));
  return stream_->synchronize(deadline_us_);
}

// The layers of a decode step start as one piece where the stream can record and no collective
// needs the host. In longer steps the gaps between kernels do not count.
Status Rank::run_layers(const MicroStep& step) {
  const std::int64_t num_tokens = step.batch->num_tokens();
  const bool records =
      recorder_ != nullptr && num_tokens <= kRecordedTokens && seat_.group->can_be_recorded();
  if (!records) return decoder_->run_layers(*stream_, *seat_.group);
  recorder_->begin_step(static_cast<std::uint64_t>(num_tokens));
  Status status = decoder_->run_layers(*stream_, *seat_.group);
  recorder_->end_step();
  return status;
}

// The stage's input: embedded here, or from the stage before.
Status Rank::enter(const MicroStep& step) {
  if (seat_.from_previous == nullptr) {
    return embed(*step.batch);
  }
  return seat_.from_previous->receive(*stream_, seat_.group->rank(), decoder_->hidden());
}

// Copies the tokens' rows from the file: touching them where they are mapped would cost a page
// fault each, and make the table resident.
Status Rank::embed(const StepBatch& batch) {
  const std::int64_t row_bytes =
      static_cast<std::int64_t>(embedding_->data.size()) / seat_.spec->vocabulary_size;
  const auto size = static_cast<std::size_t>(row_bytes);
  embedded_rows_.resize(batch.token_ids.size() * size);
  const std::span<std::byte> rows(embedded_rows_);
  for (std::size_t i = 0; i < batch.token_ids.size(); ++i) {
    const auto id = static_cast<std::size_t>(batch.token_ids[i]);
    TANDEM_TRY_STATUS(seat_.file->copy_bytes(embedding_->data.subspan(id * size, size),
                                             rows.subspan(i * size, size)));
  }
  decoder_->embed(*stream_, {embedding_->type, rows});
  return {};
}

// The stage's result: to the next stage, or this rank's columns of the logits to the host.
Status Rank::leave(const MicroStep& step, StepQueue& queue) {
  if (seat_.to_next != nullptr) {
    if (seat_.group->rank() != 0) return {};
    return seat_.to_next->send(*stream_, decoder_->hidden());
  }
  const MatrixView rows = decoder_->gather_output_rows(*stream_);
  if (seat_.output_link && rows.rows > 0) {
    TANDEM_TRY_STATUS(seat_.output_link->send(*stream_, rows));
    queue.notify();
  }
  write_logits(step);
  const std::int64_t began = monotonic_ns();
  if (seat_.group->rank() == 0) copy_hidden(step);
  output_seconds_ += seconds_of(monotonic_ns() - began);
  return {};
}

// The oldest open one. Waits for its hidden states.
Status Rank::compute_output(StepQueue& queue) {
  const OpenOutput open = std::move(open_outputs_.front());
  open_outputs_.pop_front();
  const std::int64_t began = monotonic_ns();
  if (Status status = execute_output(open.step); !status.ok()) {
    return in_step(status, seat_.plan.device, open.index, open.step);
  }
  const RankTimes spent = add_times(seconds_of(monotonic_ns() - began), 0);
  if (seat_.trace) trace_step(open.step, "output", spent, began);
  seat_.group->sign();
  queue.finish(open.index);
  return {};
}

Status Rank::execute_output(const MicroStep& step) {
  const MatrixView rows = decoder_->output_rows(num_output_rows(step));
  TANDEM_TRY_STATUS(seat_.output_link->receive(*stream_, seat_.output_receiver, rows));
  write_logits(step);
  return stream_->synchronize(deadline_us_);
}

void Rank::write_logits(const MicroStep& step) {
  const MatrixView logits = decoder_->logits(*stream_, num_output_rows(step));
  const std::int64_t began = monotonic_ns();
  const auto vocabulary = seat_.spec->vocabulary_size;
  const std::int64_t bytes = logits.columns * static_cast<std::int64_t>(sizeof(float));
  if (bytes > 0 && logits.rows > 0) write_candidates(step, logits);
  for (std::int64_t row = 0; bytes > 0 && row < logits.rows; ++row) {
    if (step.step->candidates.are_wanted(step.first_output_row + row)) continue;
    float* host = step.step->logits.data() + (step.first_output_row + row) * vocabulary +
                  seat_.plan.shard.vocabulary.begin;
    stream_->copy_to_host(host, logits.row(row), bytes);
  }
  output_seconds_ += seconds_of(monotonic_ns() - began);
}

// The best of this rank's columns, for rows of which that will do: of all rows, as they are picked
// together.
void Rank::write_candidates(const MicroStep& step, MatrixView logits) {
  TokenCandidates& candidates = step.step->candidates;
  const std::int32_t places = candidates.per_rank();
  const auto count = static_cast<std::int32_t>(std::min<std::int64_t>(places, logits.columns));
  if (count == 0) return;
  if (candidates.have_log_sums()) write_sums(step, logits);
  change_logits(step, logits);
  const Decoder::Best best = decoder_->best(*stream_, logits, count);
  const auto rank = static_cast<std::size_t>(seat_.group->rank());
  // One copy where rows lie side by side here and there.
  const std::int64_t rows_at_once = count == places ? logits.rows : 1;
  const std::int64_t bytes = rows_at_once * count * static_cast<std::int64_t>(sizeof(float));
  for (std::int64_t row = 0; row < logits.rows; row += rows_at_once) {
    const std::int64_t to = step.first_output_row + row;
    stream_->copy_to_host(candidates.logits(rank, to), best.logits + row * count, bytes);
    stream_->copy_to_host(candidates.tokens(rank, to), best.tokens + row * count, bytes);
  }
}

void Rank::write_sums(const MicroStep& step, MatrixView logits) {
  TokenCandidates& candidates = step.step->candidates;
  const Decoder::Sums sums = decoder_->sums(*picker_, logits);
  const auto rank = static_cast<std::size_t>(seat_.group->rank());
  const std::int64_t bytes = logits.rows * static_cast<std::int64_t>(sizeof(float));
  stream_->copy_to_host(candidates.largest(rank, step.first_output_row), sums.largest, bytes);
  stream_->copy_to_host(candidates.sums(rank, step.first_output_row), sums.sums, bytes);
}

// Those of this rank's columns.
void Rank::change_logits(const MicroStep& step, MatrixView logits) {
  std::vector<LogitChange> own;
  for (LogitChange change : step.batch->logit_changes) {
    change.column -= static_cast<std::int32_t>(seat_.plan.shard.vocabulary.begin);
    if (change.column >= 0 && change.column < logits.columns) own.push_back(change);
  }
  if (!own.empty()) picker_->change_logits(logits, own);
}

// What embeddings are made of: the same on every rank of the group, so the first one's will do.
void Rank::copy_hidden(const MicroStep& step) {
  const std::vector<std::int32_t>& rows = step.batch->hidden_rows;
  if (rows.empty()) return;
  const MatrixView normed = decoder_->normed_hidden(*stream_);
  float* host = step.step->hidden.data() + step.first_hidden_row * normed.columns;
  for (const std::int32_t row : rows) {
    stream_->copy_to_host(host, normed.row(row),
                          normed.columns * static_cast<std::int64_t>(sizeof(float)));
    host += normed.columns;
  }
}

// Of a step's layers, or of its logits where those come later. Returns where the time went.
RankTimes Rank::add_times(double seconds, std::int64_t num_steps) {
  const CommStats group = seat_.group->stats();
  const CommStats from =
      seat_.from_previous ? seat_.from_previous->stats(seat_.group->rank()) : CommStats{};
  const bool sends = seat_.to_next != nullptr && seat_.group->rank() == 0;
  const CommStats to = sends ? seat_.to_next->stats(-1) : CommStats{};
  const CommStats output =
      seat_.output_link ? seat_.output_link->stats(seat_.output_receiver) : CommStats{};
  const CommStats group_delta = group - last_group_;
  const CommStats from_delta = from - last_from_;
  const CommStats to_delta = to - last_to_;
  const CommStats output_delta = output - last_output_;
  last_group_ = group;
  last_from_ = from;
  last_to_ = to;
  last_output_ = output;

  RankTimes spent;
  spent.wait = group_delta.wait_seconds;
  spent.reduce = group_delta.move_seconds;
  spent.stage_wait = from_delta.wait_seconds + to_delta.wait_seconds + output_delta.wait_seconds;
  spent.transfer = from_delta.move_seconds + to_delta.move_seconds + output_delta.move_seconds;
  spent.output = output_seconds_;
  spent.compute =
      seconds - spent.wait - spent.reduce - spent.stage_wait - spent.transfer - output_seconds_;
  spent.idle = seconds_of(idle_ns_);

  const std::lock_guard lock(times_mutex_);
  times_.wait += spent.wait;
  times_.reduce += spent.reduce;
  times_.stage_wait += spent.stage_wait;
  times_.transfer += spent.transfer;
  times_.output += spent.output;
  times_.compute += spent.compute;
  times_.idle += spent.idle;
  times_.num_steps += num_steps;
  times_.sent_bytes += group_delta.sent_bytes + to_delta.sent_bytes;
  if (!receives_outputs()) times_.sent_bytes += output_delta.sent_bytes;
  output_seconds_ = 0;
  idle_ns_ = 0;
  return spent;
}

// One span a micro-step; within it the parts are sums, not places in time.
void Rank::trace_step(const MicroStep& step, const char* what, const RankTimes& spent,
                      std::int64_t began_ns) {
  if (trace_track_ == 0) {
    trace_track_ = seat_.trace->add_track(
        fmt::format("stage {} rank {}: {}", seat_.stage, seat_.group->rank(), seat_.plan.device));
  }
  seat_.trace->add_span(
      trace_track_, what, began_ns, monotonic_ns(),
      fmt::format(
          R"("tokens":{},"compute_us":{:.1f},"wait_us":{:.1f},"reduce_us":{:.1f},"stage_wait_us":{:.1f},"transfer_us":{:.1f},"output_us":{:.1f})",
          step.batch->num_tokens(), spent.compute * 1e6, spent.wait * 1e6, spent.reduce * 1e6,
          spent.stage_wait * 1e6, spent.transfer * 1e6, spent.output * 1e6));
}

void Rank::abort(const Error& reason) {
  seat_.group->abort(reason);
  if (seat_.from_previous) seat_.from_previous->abort(reason);
  if (seat_.to_next) seat_.to_next->abort(reason);
  if (seat_.output_link) seat_.output_link->abort(reason);
}

RankTimes Rank::times() const {
  const std::lock_guard lock(times_mutex_);
  return times_;
}

void Rank::reset_times() {
  const std::lock_guard lock(times_mutex_);
  RankTimes fresh;
  fresh.device = times_.device;
  fresh.stage = times_.stage;
  times_ = fresh;
}

RankMemory Rank::memory() const {
  return {seat_.plan.device, decoder_->weights_bytes(), decoder_->kv_bytes(),
          decoder_->compute_bytes()};
}

}  // namespace tandem
