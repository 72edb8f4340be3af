#include "base/check.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {
namespace {

// An exponential and a division cost about this many additions.
constexpr std::int64_t kActivationWork = 8;

}  // namespace

void add(CpuContext& context, MatrixView x, MatrixView y) {
  TANDEM_CHECK(x.rows == y.rows && x.columns == y.columns, "x and y have one shape");
  for_pieces(context, x.rows, x.columns, 1,
             [&](std::int64_t row, std::int64_t first, std::int64_t count) {
               context.kernels.add(x.row(row) + first, y.row(row) + first, count);
             });
}

void gated_activation(CpuContext& context, GateKind kind, MatrixView gate, MatrixView up) {
  TANDEM_CHECK(gate.rows == up.rows && gate.columns == up.columns, "gate and up have one shape");
  const auto kernel =
      kind == GateKind::kSilu ? context.kernels.silu_gate : context.kernels.gelu_gate;
  for_pieces(context, gate.rows, gate.columns, kActivationWork,
             [&](std::int64_t row, std::int64_t first, std::int64_t count) {
               kernel(gate.row(row) + first, up.row(row) + first, count);
             });
}

void soft_cap(CpuContext& context, MatrixView x, float cap) {
  TANDEM_CHECK(cap > 0, "a cap is positive");
  for_pieces(context, x.rows, x.columns, kActivationWork,
             [&](std::int64_t row, std::int64_t first, std::int64_t count) {
               context.kernels.soft_cap(x.row(row) + first, cap, count);
             });
}

}  // namespace tandem::cpu_ops
