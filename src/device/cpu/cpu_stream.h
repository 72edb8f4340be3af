#pragma once

#include <memory>
#include <optional>

#include "device/cpu/cpu_context.h"
#include "device/cpu/matmul/cpu_matmul.h"
#include "device/device.h"

namespace tandem {

// Runs each op before it returns, on all threads of the pool.
class CpuStream : public Stream {
 public:
  // pool must outlive this.
  CpuStream(ThreadPool& pool, Arithmetic arithmetic, InstructionSet set);

  void copy_to_device(void* device, const void* host, std::int64_t bytes) override;
  void copy_to_host(void* host, const void* device, std::int64_t bytes) override;
  void fill_zero(void* device, std::int64_t bytes) override;
  std::unique_ptr<Event> record() override;
  Status synchronize(std::int64_t deadline_us) override;

  void embed(ElementType type, std::span<const std::byte> table, std::span<const std::int32_t> ids,
             float scale, MatrixView out) override;
  void rms_norm(MatrixView x, const float* weight, float eps, MatrixView out) override;
  void rms_norm_heads(MatrixView x, std::int32_t head_dim, const float* weight, float eps) override;
  void add(MatrixView x, MatrixView y) override;
  void matmul(MatrixView x, std::span<const MatmulTarget> targets) override;
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

 private:
  // Runs `op` unless an earlier one failed; what it returns or throws poisons the stream.
  template <typename Op>
  void run(Op&& op);

  CpuContext context_;
  CpuMatmul matmul_;
  std::optional<Error> poison_;
};

}  // namespace tandem
