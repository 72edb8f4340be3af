#include "base/check.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {

void rms_norm(CpuContext& context, MatrixView x, const float* weight, float eps, MatrixView out) {
  TANDEM_CHECK(x.rows == out.rows && x.columns == out.columns, "x and out have one shape");
  if (x.columns == 0) return;
  for_range(context, x.rows, 2 * x.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      context.kernels.rms_norm(x.row(i), weight, eps, x.columns, out.row(i));
    }
  });
}

void rms_norm_heads(CpuContext& context, MatrixView x, std::int32_t head_dim, const float* weight,
                    float eps) {
  if (x.columns == 0) return;
  TANDEM_CHECK(head_dim > 0 && x.columns % head_dim == 0, "a row is whole heads");
  for_range(context, x.rows, 2 * x.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (float* head = x.row(i); head < x.row(i) + x.columns; head += head_dim) {
        context.kernels.rms_norm(head, weight, eps, head_dim, head);
      }
    }
  });
}

}  // namespace tandem::cpu_ops
