#include <string>

#include "base/check.h"
#include "device/cpu/ops/cpu_ops.h"
#include "tensor/quantise.h"

namespace tandem::cpu_ops {

Status embed(CpuContext& context, ElementType type, std::span<const std::byte> table,
             std::span<const std::int32_t> ids, float scale, MatrixView out) {
  TANDEM_CHECK(static_cast<std::int64_t>(ids.size()) == out.rows, "one id a row");
  if (ids.empty() || out.columns == 0) return {};
  const std::optional<std::int64_t> row_bytes = bytes_of(type, out.columns);
  TANDEM_CHECK(row_bytes.has_value(), "a row of the table is a whole number of blocks");
  const auto num_rows = static_cast<std::int64_t>(table.size()) / *row_bytes;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= num_rows) {
      return invalid_argument("no such token id", "0 to " + std::to_string(num_rows - 1),
                              std::to_string(id));
    }
  }
  for_range(context, out.rows, 4 * out.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto first = static_cast<std::size_t>(ids[static_cast<std::size_t>(i)] * *row_bytes);
      dequantise(type, table.subspan(first, static_cast<std::size_t>(*row_bytes)),
                 {out.row(i), static_cast<std::size_t>(out.columns)});
      if (scale != 1.0f) context.kernels.scale(out.row(i), scale, out.columns);
    }
  });
  return {};
}

}  // namespace tandem::cpu_ops
