#include "device/cpu/matmul/few_rows.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"

namespace tandem {
namespace {

// Where the sums of a group begin; those of the next row of x are kPanelRows further.
float* sums_of(float* sums, std::int64_t group, std::int64_t num_rows) {
  return sums + group / kPanelGroups * num_rows * kPanelRows + group % kPanelGroups * kGroupRows;
}

}  // namespace

void multiply_few_rows(const RoundedKernels& kernels, const GroupRange& range,
                       std::span<const RoundedRow> x, float* sums) {
  const auto num_rows = static_cast<std::int64_t>(x.size());
  // Passes of as many rows each, so that all take the same groups. The last may begin among the
  // rows of the one before, which are computed again, to the same bits.
  const std::int64_t num_passes = ceil_div<std::int64_t>(num_rows, kMaxDecodeRows);
  const auto pass_rows = static_cast<int>(ceil_div(num_rows, num_passes));
  const int num_runs = kernels.decode_groups(range.type, pass_rows);
  const std::int64_t run_length = ceil_div<std::int64_t>(range.num_groups, num_runs);
  const std::int64_t group_bytes = packed_group_bytes(range.type, range.columns);
  alignas(64) float unused[kMaxDecodeRows * kPanelRows];  // of runs that ended earlier
  RoundedKernels::Decode decode;
  decode.type = range.type;
  decode.columns = range.columns;
  decode.num_rows = pass_rows;
  for (std::int64_t i = 0; i < run_length; ++i) {
    // The groups' packed bytes stay in the caches for the second pass.
    for (std::int64_t pass = 0; pass < num_passes; ++pass) {
      const std::int64_t row = std::min(pass * pass_rows, num_rows - pass_rows);
      decode.x = x.data() + row;
      for (int run = 0; run < num_runs; ++run) {
        const std::int64_t group = run * run_length + i;
        const bool is_there = group < range.num_groups;
        decode.groups[run] = range.groups + std::min(group, range.num_groups - 1) * group_bytes;
        decode.sums[run] = is_there ? sums_of(sums, group, num_rows) + row * kPanelRows : unused;
      }
      kernels.decode(decode);
    }
  }
}

void multiply_few_rows(FloatKernel kernel, const GroupRange& range, std::span<const float* const> x,
                       float* sums) {
  const auto num_rows = static_cast<std::int64_t>(x.size());
  const std::int64_t group_bytes = packed_group_bytes(range.type, range.columns);
  const std::int64_t run_length = range.num_groups / kPanelGroups;
  alignas(64) float panel[kFewFloatRows * kPanelRows];
  FloatTile tile;
  tile.type = range.type;
  tile.end = range.columns;
  tile.x = x.data();
  tile.num_rows = num_rows;
  tile.sums = panel;
  // `count` groups from `first` on, each `step` behind the one before.
  const auto multiply = [&](std::int64_t first, int count, std::int64_t step) {
    std::fill_n(panel, num_rows * kPanelRows, 0.0f);
    tile.groups = range.groups + first * group_bytes;
    tile.group_bytes = step * group_bytes;
    tile.num_groups = count;
    kernel(tile);
    for (int g = 0; g < count; ++g) {
      float* to = sums_of(sums, first + g * step, num_rows);
      for (std::int64_t row = 0; row < num_rows; ++row) {
        std::memcpy(to + row * kPanelRows, panel + row * kPanelRows + g * kGroupRows,
                    kGroupRows * sizeof(float));
      }
    }
  };
  for (std::int64_t i = 0; i < run_length; ++i) multiply(i, kPanelGroups, run_length);
  const std::int64_t rest = kPanelGroups * run_length;
  if (rest < range.num_groups) multiply(rest, static_cast<int>(range.num_groups - rest), 1);
}

}  // namespace tandem
