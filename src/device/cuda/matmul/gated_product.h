#pragma once

#include "device/cuda/gate.h"
#include "device/cuda/matmul/split_product.h"

namespace tandem::cuda {

// Decoding's gate and up: two products of the same few rows of x and f(gate) * up, so that neither
// result goes to memory and back. As split_product with one tile: a block computes the same 16 rows
// of both, a warp a slice of one and then of the other, and adds the slices in the same order: the
// bits are those of the products and the activation one after another.
//
// batch.targets: gate, up, of one shape, with num_groups those of one. Results go to the first
// one's y. Grid: [tiles of 8 rows of x, groups].
template <ElementType kType>
__global__ void __launch_bounds__(32 * kSlices, 2)
    gated_product(ProductBatch batch, GateKind kind, int num_slices) {
  TANDEM_DYNAMIC_SHARED(float, shared);  // [gate, up][slice][row of x][16]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int slice = static_cast<int>(threadIdx.x) / 32;
  const auto group = static_cast<std::int32_t>(blockIdx.y);
  const TileRows rows = tile_rows(batch, static_cast<int>(blockIdx.x), 8);
  if (rows.count <= 0) return;
  if (rows.expert >= 0) {
    const XReader<kType, 1> x(batch.x, rows, lane);
    TANDEM_NO_UNROLL
    for (int side = 0; side < 2; ++side) {
      const ProductTarget& target = batch.targets[side];
      const std::uint8_t* weight =
          target.weight + rows.expert * target.expert_bytes + group * batch.group_bytes;
      float acc[1][4] = {};
      multiply_slice<kType, 1>(weight, slice, batch.num_chunks, lane, x, acc);
      keep_sums(acc, lane, shared + (side * num_slices + slice) * 128);
    }
  }
  __syncthreads();
  const ProductTarget &gate = batch.targets[0], &up = batch.targets[1];
  for (int i = static_cast<int>(threadIdx.x); i < 128; i += static_cast<int>(blockDim.x)) {
    const std::int32_t row = group * kGroupRows + i % kGroupRows;
    const int n = i / kGroupRows;
    if (n >= rows.count || row >= gate.rows) continue;
    const float a = add_slices<kType, 1>(batch, gate, row, num_slices, rows, i, shared);
    const float b =
        add_slices<kType, 1>(batch, up, row, num_slices, rows, i, shared + num_slices * 128);
    gate.y[rows.y_row(n) * gate.y_stride + row] = gated(kind, a, b);
  }
}

template <ElementType kType>
cudaError_t launch_gated_product(cudaStream_t stream, const ProductBatch& batch, int column_tiles,
                                 GateKind kind) {
  const int num_steps = (batch.num_chunks + kStepChunks - 1) / kStepChunks;
  const int num_slices = num_steps < kSlices ? num_steps : kSlices;
  const LaunchShape shape{
      dim3(static_cast<unsigned>(column_tiles), static_cast<unsigned>(batch.num_groups)),
      dim3(static_cast<unsigned>(32 * num_slices)),
      static_cast<std::size_t>(2 * num_slices * 128) * sizeof(float)};
  return launch(stream, gated_product<kType>, shape, batch, kind, num_slices);
}

}  // namespace tandem::cuda
