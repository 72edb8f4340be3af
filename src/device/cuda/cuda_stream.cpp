#include "device/cuda/cuda_stream.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/cuda_event.h"
#include "device/cuda/elementwise.h"
#include "device/cuda/experts.h"
#include "device/cuda/kv_store.h"
#include "device/cuda/logits.h"
#include "device/cuda/matmul.h"
#include "device/cuda/norm.h"
#include "device/cuda/rope.h"
#include "device/cuda/rows.h"
#include "device/cuda/stream_wait.h"
#include "device/cuda/top_k.h"

namespace tandem::cuda {
namespace {

// Larger copies are those of loading, which may wait.
constexpr std::int64_t kStagedBytes = 256 * 1024;

void check_norm(const NormArgs& args) {
  TANDEM_CHECK(args.x.rows == args.out.rows && args.x.columns == args.out.columns,
               "x and out have one shape");
  TANDEM_CHECK(args.residual.rows == 0 ||
                   (args.residual.rows == args.x.rows && args.residual.columns == args.x.columns),
               "x and residual have one shape");
}

Status as_status(Status status, const char*) {
  return status;
}
Status as_status(cudaError_t error, const char* name) {
  return status_of(error, name);
}

}  // namespace

Result<std::unique_ptr<CudaStream>> CudaStream::create(std::string device_id, const GpuTraits& gpu,
                                                       Arithmetic arithmetic,
                                                       std::shared_ptr<Arena> arena,
                                                       std::int64_t scratch_bytes) {
  TANDEM_CUDA_TRY(cudaSetDevice(gpu.index), "cannot use the GPU");
  cudaStream_t stream = nullptr;
  TANDEM_CUDA_TRY(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
                  "cannot make a stream");
  return std::unique_ptr<CudaStream>(new CudaStream(std::move(device_id), stream, gpu, arithmetic,
                                                    std::move(arena), scratch_bytes));
}

CudaStream::CudaStream(std::string device_id, cudaStream_t stream, const GpuTraits& gpu,
                       Arithmetic arithmetic, std::shared_ptr<Arena> arena,
                       std::int64_t scratch_bytes)
    : device_id_(std::move(device_id)),
      scratch_(arena, scratch_bytes),
      context_{stream, gpu, arithmetic, scratch_},
      slots_(arena),
      sequences_(arena),
      indices_(arena) {}

CudaStream::~CudaStream() {
  // What is under way uses memory that goes with this object.
  (void)cudaSetDevice(context_.gpu.index);
  (void)cudaStreamSynchronize(context_.stream);
  (void)cudaStreamDestroy(context_.stream);
}

template <typename Op>
void CudaStream::run(const char* name, Op&& op) {
  if (poison_) return;
  // Another device of this thread may have been used since.
  Status status = status_of(cudaSetDevice(context_.gpu.index), name);
  scratch_.begin_op();
  if (status.ok()) status = as_status(op(), name);
  if (status.ok()) return;
  const Error& error = status.error();
  poison_ = error.where == device_id_ ? error : error.at(device_id_);
}

template <typename T>
Result<const T*> CudaStream::upload(StagedInput& input, std::span<const T> values) {
  TANDEM_TRY(const void* device, input.upload(context_.stream, ring_, std::as_bytes(values)));
  return static_cast<const T*>(device);
}

void CudaStream::copy_to_device(void* device, const void* host, std::int64_t bytes) {
  if (bytes <= 0) return;
  run("copy to the device", [&]() -> Status {
    const auto size = static_cast<std::size_t>(bytes);
    const void* from = host;
    if (bytes <= kStagedBytes) {
      TANDEM_TRY(void* staged, ring_.take(context_.stream, bytes));
      std::memcpy(staged, host, size);
      from = staged;
    }
    return status_of(cudaMemcpyAsync(device, from, size, cudaMemcpyHostToDevice, context_.stream),
                     "cannot copy to the device");
  });
}

void CudaStream::copy_to_host(void* host, const void* device, std::int64_t bytes) {
  if (bytes <= 0) return;
  run("copy to the host", [&] { return downloads_.enqueue(context_.stream, host, device, bytes); });
}

void CudaStream::fill_zero(void* device, std::int64_t bytes) {
  if (bytes <= 0) return;
  run("fill with zeros",
      [&] { return cudaMemsetAsync(device, 0, static_cast<std::size_t>(bytes), context_.stream); });
}

std::unique_ptr<Event> CudaStream::record() {
  auto event = std::make_unique<CudaEvent>(*this);
  run("record an event", [&] { return event->record(context_.stream); });
  return event;
}

Status CudaStream::synchronize(std::int64_t deadline_us) {
  if (poison_) return *poison_;
  (void)cudaSetDevice(context_.gpu.index);
  Status status = wait_for_stream(context_.stream, deadline_us, device_id_);
  if (status.ok() && check_) status = check_();
  if (!status.ok()) {
    if (status.error().code != ErrorCode::kDeadline) poison_ = status.error();
    return status;
  }
  downloads_.deliver(downloads_.enqueued());
  return {};
}

void CudaStream::begin_step(std::uint64_t key) {
  run("begin a step", [&]() -> Status {
    TANDEM_TRY_STATUS(ring_.begin_step(context_.stream));
    return graphs_.begin(context_.stream, key);
  });
}

void CudaStream::end_step() {
  if (!graphs_.is_recording()) return;
  (void)cudaSetDevice(context_.gpu.index);
  Status status = graphs_.end(context_.stream);  // also where an op failed: the recording must end
  if (poison_ || status.ok()) return;
  poison_ = std::move(status).error().at(device_id_);
}

// The rows that are wanted travel as they are in the file and are expanded on the device.
Status CudaStream::upload_embedding(ElementType type, std::span<const std::byte> table,
                                    std::span<const std::int32_t> ids, float scale,
                                    MatrixView out) {
  const auto row_bytes = bytes_of(type, out.columns);
  TANDEM_CHECK(row_bytes.has_value(), "a row of the table is a whole number of blocks");
  const auto num_rows = static_cast<std::int64_t>(table.size()) / *row_bytes;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= num_rows) {
      return invalid_argument("no such token id", "0 to " + std::to_string(num_rows - 1),
                              std::to_string(id));
    }
  }
  const std::int64_t bytes = *row_bytes * out.rows;
  TANDEM_TRY(void* staged, ring_.take(context_.stream, bytes));
  TANDEM_TRY(void* rows, scratch_.take(bytes));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto size = static_cast<std::size_t>(*row_bytes);
    std::memcpy(static_cast<std::byte*>(staged) + i * size,
                table.data() + static_cast<std::size_t>(ids[i]) * size, size);
  }
  TANDEM_CUDA_TRY(cudaMemcpyAsync(rows, staged, static_cast<std::size_t>(bytes),
                                  cudaMemcpyHostToDevice, context_.stream),
                  "cannot copy to the device");
  return status_of(expand_rows(context_.stream, type, rows, *row_bytes, scale, out), "embed");
}

void CudaStream::embed(ElementType type, std::span<const std::byte> table,
                       std::span<const std::int32_t> ids, float scale, MatrixView out) {
  TANDEM_CHECK(static_cast<std::int64_t>(ids.size()) == out.rows, "one id a row");
  if (ids.empty() || out.columns == 0) return;
  run("embed", [&] { return upload_embedding(type, table, ids, scale, out); });
}

void CudaStream::rms_norm(MatrixView x, const float* weight, float eps, MatrixView out) {
  TANDEM_CHECK(x.rows == out.rows && x.columns == out.columns, "x and out have one shape");
  run("rms_norm", [&] { return cuda::add_norm(context_.stream, {x, {}, weight, eps, out}); });
}

void CudaStream::add_norm(const NormArgs& args) {
  check_norm(args);
  run("add_norm", [&] { return cuda::add_norm(context_.stream, args); });
}

void CudaStream::norm_matmul(const NormArgs& norm, std::span<const MatmulTarget> targets) {
  check_norm(norm);
  run("norm_matmul", [&] { return cuda::norm_matmul(context_, norm, targets); });
}

void CudaStream::norm_gated_matmul(const NormArgs& norm, GateKind kind, const MatmulTarget& gate,
                                   const MatmulTarget& up) {
  check_norm(norm);
  run("norm_gated_matmul", [&] { return cuda::norm_gated_matmul(context_, norm, kind, gate, up); });
}

void CudaStream::gated_expert_matmul(GateKind kind, const ExpertMatmulArgs& args) {
  TANDEM_CHECK(args.targets.size() == 2, "gate and up");
  run("gated_expert_matmul", [&] { return cuda::gated_expert_matmul(context_, kind, args); });
}

void CudaStream::rms_norm_heads(MatrixView x, std::int32_t head_dim, const float* weight,
                                float eps) {
  if (x.columns == 0) return;
  TANDEM_CHECK(head_dim > 0 && x.columns % head_dim == 0, "a row is whole heads");
  run("rms_norm_heads",
      [&] { return cuda::rms_norm_heads(context_.stream, x, head_dim, weight, eps); });
}

void CudaStream::add(MatrixView x, MatrixView y) {
  TANDEM_CHECK(x.rows == y.rows && x.columns == y.columns, "x and y have one shape");
  run("add", [&] { return cuda::add(context_.stream, x, y); });
}

void CudaStream::matmul(MatrixView x, std::span<const MatmulTarget> targets) {
  run("matmul", [&] { return cuda::matmul(context_, x, targets); });
}

void CudaStream::rope(const RopeArgs& args) {
  if (args.x.rows == 0 || args.x.columns == 0 || args.rope_dims == 0) return;
  TANDEM_CHECK(args.head_dim > 0 && args.x.columns % args.head_dim == 0, "a row is whole heads");
  TANDEM_CHECK(args.rope_dims % 2 == 0 && args.rope_dims <= args.head_dim, "pairs within a head");
  run("rope", [&] { return cuda::rope(context_.stream, args); });
}

void CudaStream::store_kv(MatrixView k, MatrixView v, const KvView& kv,
                          std::span<const std::int64_t> slots) {
  if (slots.empty() || kv.num_kv_heads == 0) return;
  TANDEM_CHECK(k.rows == v.rows && k.rows == static_cast<std::int64_t>(slots.size()),
               "one slot a token");
  const std::int64_t num_slots = std::int64_t{kv.num_blocks} * kv.block_tokens;
  for (const std::int64_t slot : slots) {
    TANDEM_CHECK(slot >= 0 && slot < num_slots, "a slot of the cache");
  }
  run("store_kv", [&]() -> Status {
    TANDEM_TRY(const std::int64_t* on_device, upload(slots_, slots));
    return status_of(cuda::store_kv(context_.stream, k, v, kv, on_device), "store_kv");
  });
}

// Everything that the kernels read of the batch's sequences, as one array: the sequences, the
// tokens' sequences, the block tables.
Result<DeviceSequences> CudaStream::upload_sequences(const AttentionArgs& args) {
  DeviceSequences result;
  DeviceSequences::Limits& limits = result.limits;
  limits.num_sequences = static_cast<std::int32_t>(args.sequences.size());
  limits.num_tokens = static_cast<std::int32_t>(args.q.rows);
  constexpr std::size_t kWords = sizeof(DeviceSequence) / sizeof(std::int32_t);
  const std::size_t tokens_begin = args.sequences.size() * kWords;
  const std::size_t tables_begin = tokens_begin + static_cast<std::size_t>(args.q.rows);
  tables_.assign(tables_begin, -1);
  for (std::size_t i = 0; i < args.sequences.size(); ++i) {
    const SequenceSlice& slice = args.sequences[i];
    const DeviceSequence entry{slice.first_token, slice.num_tokens, slice.context_tokens,
                               static_cast<std::int32_t>(tables_.size() - tables_begin)};
    std::memcpy(tables_.data() + i * kWords, &entry, sizeof(entry));
    const auto first =
        tables_.begin() + static_cast<std::ptrdiff_t>(tokens_begin) + slice.first_token;
    std::fill_n(first, slice.num_tokens, static_cast<std::int32_t>(i));
    tables_.insert(tables_.end(), slice.block_table.begin(), slice.block_table.end());
    limits.max_tokens = std::max(limits.max_tokens, slice.num_tokens);
    limits.max_context = std::max(limits.max_context, slice.context_tokens);
  }
  TANDEM_TRY(const std::int32_t* device,
             upload(sequences_, std::span<const std::int32_t>(tables_)));
  result.sequences = reinterpret_cast<const DeviceSequence*>(device);
  result.sequence_of_token = device + tokens_begin;
  result.block_tables = device + tables_begin;
  return result;
}

void CudaStream::attention(const AttentionArgs& args) {
  if (args.q.rows == 0 || args.num_q_heads == 0 || args.sequences.empty()) return;
  run("attention", [&]() -> Status {
    TANDEM_TRY(const DeviceSequences sequences, upload_sequences(args));
    return cuda::attention(context_, args, sequences);
  });
}

void CudaStream::gated_activation(GateKind kind, MatrixView gate, MatrixView up) {
  TANDEM_CHECK(gate.rows == up.rows && gate.columns == up.columns, "gate and up have one shape");
  run("gated_activation", [&] { return cuda::gated_activation(context_.stream, kind, gate, up); });
}

void CudaStream::route_experts(const RouteArgs& args) {
  if (args.logits.rows == 0 || args.top_k == 0) return;
  TANDEM_CHECK(args.top_k > 0 && args.top_k <= args.logits.columns, "no more choices than experts");
  run("route_experts", [&]() -> Status {
    TANDEM_TRY(float* scratch, scratch_.take_array<float>(args.logits.rows * args.logits.columns));
    return status_of(cuda::route_experts(context_.stream, args, scratch), "route_experts");
  });
}

void CudaStream::expert_matmul(const ExpertMatmulArgs& args) {
  run("expert_matmul", [&] { return cuda::expert_matmul(context_, args); });
}

void CudaStream::combine_experts(MatrixView y, const float* weights, std::int32_t top_k,
                                 MatrixView out) {
  TANDEM_CHECK(y.rows == out.rows * top_k && y.columns == out.columns, "top_k rows a token");
  run("combine_experts",
      [&] { return cuda::combine_experts(context_.stream, y, weights, top_k, out); });
}

void CudaStream::soft_cap(MatrixView x, float cap) {
  TANDEM_CHECK(cap > 0, "a cap is positive");
  run("soft_cap", [&] { return cuda::soft_cap(context_.stream, x, cap); });
}

void CudaStream::gather_rows(MatrixView x, std::span<const std::int32_t> indices, MatrixView out) {
  TANDEM_CHECK(out.rows == static_cast<std::int64_t>(indices.size()), "one index a row");
  TANDEM_CHECK(out.columns == x.columns, "x and out have the same columns");
  for (const std::int32_t index : indices) {
    TANDEM_CHECK(index >= 0 && index < x.rows, "a row of x");
  }
  if (indices.empty() || out.columns == 0) return;
  run("gather_rows", [&]() -> Status {
    TANDEM_TRY(const std::int32_t* on_device, upload(indices_, indices));
    return status_of(cuda::gather_rows(context_.stream, x, on_device, out), "gather_rows");
  });
}

void CudaStream::top_k(MatrixView x, std::int32_t k, float* values, std::int32_t* indices) {
  if (x.rows == 0 || k == 0) return;
  TANDEM_CHECK(k > 0 && k <= x.columns, "no more results than columns");
  run("top_k", [&] { return cuda::top_k(context_, x, k, values, indices); });
}

// The GPU reads the few changes where they are staged, in page-locked memory.
void CudaStream::change_logits(MatrixView x, std::span<const LogitChange> changes) {
  for (const LogitChange& change : changes) {
    TANDEM_CHECK(
        change.row >= 0 && change.row < x.rows && change.column >= 0 && change.column < x.columns,
        "a place of x");
  }
  if (changes.empty()) return;
  run("change_logits", [&]() -> Status {
    TANDEM_TRY(void* staged,
               ring_.take(context_.stream, static_cast<std::int64_t>(changes.size_bytes())));
    std::memcpy(staged, changes.data(), changes.size_bytes());
    return status_of(cuda::change_logits(context_.stream, x, static_cast<LogitChange*>(staged),
                                         static_cast<std::int64_t>(changes.size())),
                     "change_logits");
  });
}

void CudaStream::sum_exponentials(MatrixView x, float* largest, float* sums) {
  if (x.rows == 0) return;
  TANDEM_CHECK(x.columns > 0, "rows that have numbers");
  run("sum_exponentials", [&] { return cuda::sum_exponentials(context_, x, largest, sums); });
}

}  // namespace tandem::cuda
