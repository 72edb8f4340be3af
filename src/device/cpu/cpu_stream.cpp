#include "device/cpu/cpu_stream.h"

#include <cstring>
#include <new>
#include <type_traits>

#include "base/clock.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem {
namespace {

// Everything before it is done when it is made.
class CpuEvent : public Event {
 public:
  explicit CpuEvent(const std::optional<Error>& error) : error_(error) {}

  Status wait(std::int64_t) override { return error_ ? Status(*error_) : Status(); }
  double seconds_since(const Event& start) const override {
    return 1e-9 * static_cast<double>(time_ns_ - static_cast<const CpuEvent&>(start).time_ns_);
  }

 private:
  std::optional<Error> error_;
  std::int64_t time_ns_ = monotonic_ns();
};

}  // namespace

CpuStream::CpuStream(ThreadPool& pool, Arithmetic arithmetic, InstructionSet set)
    : context_{pool, kernels_for(set)}, matmul_(pool, arithmetic, set) {}

template <typename Op>
void CpuStream::run(Op&& op) {
  if (poison_) return;
  try {
    if constexpr (std::is_same_v<decltype(op()), Status>) {
      if (Status status = op(); !status.ok()) poison_ = std::move(status).error();
    } else {
      op();
    }
  } catch (const std::bad_alloc&) {
    poison_ = Error{ErrorCode::kOutOfMemory, "no memory for the scratch of an op", {}, {}, {}};
  }
}

void CpuStream::copy_to_device(void* device, const void* host, std::int64_t bytes) {
  run([&] {
    if (bytes > 0) std::memcpy(device, host, static_cast<std::size_t>(bytes));
  });
}

void CpuStream::copy_to_host(void* host, const void* device, std::int64_t bytes) {
  copy_to_device(host, device, bytes);
}

void CpuStream::fill_zero(void* device, std::int64_t bytes) {
  run([&] {
    if (bytes > 0) std::memset(device, 0, static_cast<std::size_t>(bytes));
  });
}

std::unique_ptr<Event> CpuStream::record() {
  return std::make_unique<CpuEvent>(poison_);
}

Status CpuStream::synchronize(std::int64_t) {
  return poison_ ? Status(*poison_) : Status();
}

void CpuStream::embed(ElementType type, std::span<const std::byte> table,
                      std::span<const std::int32_t> ids, float scale, MatrixView out) {
  run([&] { return cpu_ops::embed(context_, type, table, ids, scale, out); });
}

void CpuStream::rms_norm(MatrixView x, const float* weight, float eps, MatrixView out) {
  run([&] { cpu_ops::rms_norm(context_, x, weight, eps, out); });
}

void CpuStream::rms_norm_heads(MatrixView x, std::int32_t head_dim, const float* weight,
                               float eps) {
  run([&] { cpu_ops::rms_norm_heads(context_, x, head_dim, weight, eps); });
}

void CpuStream::add(MatrixView x, MatrixView y) {
  run([&] { cpu_ops::add(context_, x, y); });
}

void CpuStream::matmul(MatrixView x, std::span<const MatmulTarget> targets) {
  run([&] { matmul_.matmul(x, targets); });
}

void CpuStream::rope(const RopeArgs& args) {
  run([&] { cpu_ops::rope(context_, args); });
}

void CpuStream::store_kv(MatrixView k, MatrixView v, const KvView& kv,
                         std::span<const std::int64_t> slots) {
  run([&] { cpu_ops::store_kv(context_, k, v, kv, slots); });
}

void CpuStream::attention(const AttentionArgs& args) {
  run([&] { cpu_ops::attention(context_, args); });
}

void CpuStream::gated_activation(GateKind kind, MatrixView gate, MatrixView up) {
  run([&] { cpu_ops::gated_activation(context_, kind, gate, up); });
}

void CpuStream::route_experts(const RouteArgs& args) {
  run([&] { cpu_ops::route_experts(context_, args); });
}

void CpuStream::expert_matmul(const ExpertMatmulArgs& args) {
  run([&] { matmul_.expert_matmul(args); });
}

void CpuStream::combine_experts(MatrixView y, const float* weights, std::int32_t top_k,
                                MatrixView out) {
  run([&] { cpu_ops::combine_experts(context_, y, weights, top_k, out); });
}

void CpuStream::soft_cap(MatrixView x, float cap) {
  run([&] { cpu_ops::soft_cap(context_, x, cap); });
}

void CpuStream::gather_rows(MatrixView x, std::span<const std::int32_t> indices, MatrixView out) {
  run([&] { cpu_ops::gather_rows(context_, x, indices, out); });
}

void CpuStream::top_k(MatrixView x, std::int32_t k, float* values, std::int32_t* indices) {
  run([&] { cpu_ops::top_k(context_, x, k, values, indices); });
}

}  // namespace tandem
