#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/cuda/attention.h"
#include "device/cuda/cuda_context.h"
#include "device/cuda/staging.h"
#include "device/cuda/step_graphs.h"
#include "device/device.h"
#include "device/logit_picker.h"
#include "device/step_recorder.h"

namespace tandem::cuda {

// The in-order queue of one rank on a GPU: a CUDA stream, and the page-locked memory that the
// host's side of ops goes through. No op waits for the GPU.
class CudaStream : public Stream, public StepRecorder, public LogitPicker {
 public:
  // device_id: for errors. scratch_bytes: of the arena, for ops while they run; 0: not planned.
  static Result<std::unique_ptr<CudaStream>> create(std::string device_id, const GpuTraits& gpu,
                                                    Arithmetic arithmetic,
                                                    std::shared_ptr<Arena> arena,
                                                    std::int64_t scratch_bytes);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  // For what works beside the ops on the same stream (communicators).
  CudaContext& context() { return context_; }
  const std::string& device_id() const { return device_id_; }
  // The error that poisoned the stream, if one did.
  const std::optional<Error>& poison() const { return poison_; }
  // `check` is asked by every synchronize() that found all work done, and its error poisons the
  // stream: for kernels that tell in ways of their own what went wrong. One a stream; `owner` says
  // whose.
  void set_check(const void* owner, std::function<Status()> check) {
    check_owner_ = owner;
    check_ = std::move(check);
  }
  const void* checked_by() const { return check_owner_; }

  void copy_to_device(void* device, const void* host, std::int64_t bytes) override;
  void copy_to_host(void* host, const void* device, std::int64_t bytes) override;
  void fill_zero(void* device, std::int64_t bytes) override;
  std::unique_ptr<Event> record() override;
  Status synchronize(std::int64_t deadline_us) override;
  void begin_step(std::uint64_t key) override;
  void end_step() override;
  // Steps that ran as one graph.
  std::int64_t num_graph_launches() const { return graphs_.num_launches(); }

  void embed(ElementType type, std::span<const std::byte> table, std::span<const std::int32_t> ids,
             float scale, MatrixView out) override;
  void rms_norm(MatrixView x, const float* weight, float eps, MatrixView out) override;
  void rms_norm_heads(MatrixView x, std::int32_t head_dim, const float* weight, float eps) override;
  void add(MatrixView x, MatrixView y) override;
  void matmul(MatrixView x, std::span<const MatmulTarget> targets) override;
  void add_norm(const NormArgs& args) override;
  void norm_matmul(const NormArgs& norm, std::span<const MatmulTarget> targets) override;
  void norm_gated_matmul(const NormArgs& norm, GateKind kind, const MatmulTarget& gate,
                         const MatmulTarget& up) override;
  void gated_expert_matmul(GateKind kind, const ExpertMatmulArgs& args) override;
  void rope(const RopeArgs& args) override;
  void store_kv(MatrixView k, MatrixView v, const KvView& kv,
                std::span<const std::int64_t> slots) override;
  void attention(const AttentionArgs& args) override;
  void gated_activation(GateKind kind, MatrixView gate, MatrixView up) override;
  void route_experts(const RouteArgs& args) override;
  void expert_matmul(const ExpertMatmulArgs& args) override;
  void combine_experts(MatrixView y, const float* weights, std::int32_t top_k,
                       MatrixView out) override;
  void soft_cap(MatrixView x, float cap) override;
  void gather_rows(MatrixView x, std::span<const std::int32_t> indices, MatrixView out) override;
  void top_k(MatrixView x, std::int32_t k, float* values, std::int32_t* indices) override;
  void change_logits(MatrixView x, std::span<const LogitChange> changes) override;
  void sum_exponentials(MatrixView x, float* largest, float* sums) override;

 private:
  friend class CudaEvent;
  CudaStream(std::string device_id, cudaStream_t stream, const GpuTraits& gpu,
             Arithmetic arithmetic, std::shared_ptr<Arena> arena, std::int64_t scratch_bytes);

  // Runs `op` (which returns a Status or a cudaError_t) unless an earlier one failed; its error
  // poisons the stream. `name` says in errors what was being done.
  template <typename Op>
  void run(const char* name, Op&& op);
  template <typename T>
  Result<const T*> upload(StagedInput& input, std::span<const T> values);
  Result<DeviceSequences> upload_sequences(const AttentionArgs& args);
  Status upload_embedding(ElementType type, std::span<const std::byte> table,
                          std::span<const std::int32_t> ids, float scale, MatrixView out);

  std::string device_id_;
  Scratch scratch_;
  CudaContext context_;
  UploadRing ring_;
  StagedInput slots_;
  StagedInput sequences_;
  StagedInput indices_;
  Downloads downloads_;
  StepGraphs graphs_;
  std::vector<std::int32_t> tables_;  // of upload_sequences
  std::optional<Error> poison_;
  const void* check_owner_ = nullptr;
  std::function<Status()> check_;
};

// The stream as the CUDA device made it. `stream` must be a CudaStream.
inline CudaStream& cuda_stream_of(Stream& stream) {
  return static_cast<CudaStream&>(stream);
}

}  // namespace tandem::cuda
