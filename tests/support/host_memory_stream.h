#pragma once

#include <map>
#include <memory>
#include <vector>

#include "device/device.h"

namespace tandem::test {

// A stream of any device whose ops take *host* memory: for each op what it reads is copied to the
// device, the op runs, and what it writes is copied back, before the call returns. So one test body
// serves devices with memory of their own and without. Every matrix is an allocation of its own on
// the device, as large as the view needs, so that reading or writing beyond it can be noticed.
class HostMemoryStream : public Stream {
 public:
  // device must outlive this.
  explicit HostMemoryStream(Device& device) : device_(device), inner_(device.create_stream()) {}

  void copy_to_device(void* device, const void* host, std::int64_t bytes) override;
  void copy_to_host(void* host, const void* device, std::int64_t bytes) override;
  void fill_zero(void* memory, std::int64_t bytes) override;
  std::unique_ptr<Event> record() override { return inner_->record(); }
  Status synchronize(std::int64_t deadline_us) override { return inner_->synchronize(deadline_us); }

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
  class Mirror;
  Device& device_;
  std::unique_ptr<Stream> inner_;
};

}  // namespace tandem::test
