#include "base/check.h"
#include "base/checked.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {

void rope(CpuContext& context, const RopeArgs& args) {
  const MatrixView& x = args.x;
  if (x.rows == 0 || x.columns == 0 || args.rope_dims == 0) return;
  TANDEM_CHECK(args.head_dim > 0 && x.columns % args.head_dim == 0, "a row is whole heads");
  TANDEM_CHECK(args.rope_dims % 2 == 0 && args.rope_dims <= args.head_dim, "pairs within a head");
  const std::int32_t pairs = args.rope_dims / 2;
  const Kernels& kernels = context.kernels;
  const auto turn = args.style == RopeStyle::kHalves ? kernels.rope_halves : kernels.rope_pairs;
  // Each part of the rows has memory of its own for a token's cosines and sines.
  const std::int64_t part_floats = align_up<std::int64_t>(2 * pairs, 16);
  float* scratch = context.scratch_floats(part_floats * context.pool.size());
  for_parts(context, x.rows, x.columns + 8 * pairs,
            [&](int part, std::int64_t begin, std::int64_t end) {
              float* cosines = scratch + part * part_floats;
              float* sines = cosines + pairs;
              for (std::int64_t i = begin; i < end; ++i) {
                kernels.rope_angles(args.positions[i], args.inverse_frequencies, args.magnitude,
                                    pairs, cosines, sines);
                for (float* head = x.row(i); head < x.row(i) + x.columns; head += args.head_dim) {
                  turn(head, cosines, sines, pairs);
                }
              }
            });
}

}  // namespace tandem::cpu_ops
