#include <cstring>

#include "base/check.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {

void gather_rows(CpuContext& context, MatrixView x, std::span<const std::int32_t> indices,
                 MatrixView out) {
  TANDEM_CHECK(out.rows == static_cast<std::int64_t>(indices.size()), "one index a row");
  TANDEM_CHECK(out.columns == x.columns, "x and out have the same columns");
  for (const std::int32_t index : indices) {
    TANDEM_CHECK(index >= 0 && index < x.rows, "a row of x");
  }
  if (out.columns == 0) return;
  for_range(context, out.rows, out.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::memcpy(out.row(i), x.row(indices[static_cast<std::size_t>(i)]),
                  static_cast<std::size_t>(out.columns) * sizeof(float));
    }
  });
}

}  // namespace tandem::cpu_ops
