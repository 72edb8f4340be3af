#pragma once

#include <cstdint>

#include "device/cpu/instruction_set.h"
#include "device/cpu/matmul/packed_layout.h"
#include "device/cpu/matmul/rounded_rows.h"

// The inner loops of matrix products, one set of functions for each instruction set. All compute
// the same, and those for rounded activations to the last bit, because dot products of blocks are
// exact integers and the floats are added in this order:
//
//   for each chunk of 256 columns, in order:
//     for each block of 32 columns, in order:
//       u = D * scale of the weight's block                 D: see rounded_rows.h
//       u = D0 * scale0, then u = fma(D1, scale1, u)        where sub-blocks have 16 columns
//       y = fma(u, scale of x's block, y)
//       y = fma(sum of x's block, m, y)                     kHalfWithMin
//     y = fma(M * -dmin, pair_scale, y)                     kSuperWithMin; M, the sum over
//     sub-blocks
//                                                           of min * x's sum as int16, is an exact
//                                                           integer below 2^24
//
// For float activations, column after column: y = fma(x, weight, y); with bfloat16 activations,
// pair after pair. Neither depends on how many rows of x there are, so a sequence's results are the
// same bits whether it is computed alone or in a batch.

namespace tandem {

// Up to four groups of rows ("a panel") are computed at a time; their sums lie beside each other.
inline constexpr int kPanelGroups = 4;
inline constexpr int kPanelRows = kPanelGroups * kGroupRows;

// A chunk of one group with every level a byte and every scale a float: what tile() reads.
struct alignas(64) PanelChunk {
  std::uint8_t levels[8][8][kQuadBytes];   // [block][quad][row][column], offset added
  float scales[16][kGroupRows];            // [sub-block][row]
  float shifts[8][kGroupRows];             // m of each block (kHalfWithMin)
  std::uint32_t min_pairs[8][kGroupRows];  // int16 pairs: sub-blocks 2p, 2p + 1 (kSuperWithMin)
  float min_scale[kGroupRows];             // -dmin (kSuperWithMin)
};

// One row of rounded activations. Chunk c of all rows lie beside each other, `stride` a chunk: a
// panel's chunk meets those of many rows one after another, and they stream in.
struct RoundedRow {
  const RoundedChunk* chunks = nullptr;
  const SumStarts* starts = nullptr;
  std::int64_t stride = 0;

  const RoundedChunk& chunk(std::int64_t c) const { return chunks[c * stride]; }
  const std::int32_t* start(std::int64_t c) const { return starts[c * stride].starts; }
};

struct RoundedKernels {
  // Unpacks one group's chunk of `num_blocks` blocks.
  void (*unpack)(ElementType type, const std::byte* chunk, int num_blocks, PanelChunk& panel);

  // Adds one chunk's products to sums[row of x][kPanelRows], for num_groups panels.
  struct Tile {
    PackedTraits traits;
    const PanelChunk* panel = nullptr;
    int num_groups = 0;
    int num_blocks = 0;
    std::int64_t chunk_index = 0;
    const RoundedRow* x = nullptr;
    std::int64_t num_rows = 0;
    float* sums = nullptr;
    // The packed bytes that are unpacked next, to be fetched from memory meanwhile: num_groups
    // pieces of next_bytes, next_stride apart. May lie past the end of the weight.
    const std::byte* next = nullptr;
    std::int64_t next_bytes = 0;
    std::int64_t next_stride = 0;
  };
  void (*tile)(const Tile& tile);

  // The products of some groups, each wherever it lies, with a few rows of x, straight from the
  // packed bytes. Each group is read as a stream of memory: what follows it is asked for ahead.
  struct Decode {
    ElementType type = ElementType::kF32;
    std::int64_t columns = 0;
    const std::byte* groups[kPanelGroups] = {};  // as many as decode_groups() says
    const RoundedRow* x = nullptr;
    int num_rows = 0;                // 1 to kMaxDecodeRows
    float* sums[kPanelGroups] = {};  // of each group, [row][kPanelRows], are written
  };
  // Null where unpack and tile are used for any number of rows.
  void (*decode)(const Decode& decode);
  // How many groups decode() takes at a time; null as decode.
  int (*decode_groups)(ElementType type, int num_rows);

  // As tandem::round_row, bit for bit.
  void (*round_row)(const float* x, std::int64_t columns, std::int64_t stride,
                    RoundedChunk* chunks);

  // Do the sums of a type start at SumStarts with its level_offset? If not, at those with 0.
  bool (*subtracts_offset)(const PackedTraits& traits);
};
inline constexpr int kMaxDecodeRows = 8;

// Products with F32, F16 and BF16 weights over columns [begin, end), added to
// sums[row][kPanelRows]. begin is even.
struct FloatTile {
  ElementType type = ElementType::kF32;
  const std::byte* groups = nullptr;
  std::int64_t group_bytes = 0;
  int num_groups = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  const float* const* x = nullptr;  // bfloat16 bits for bf16_tile, padded to an even number
  std::int64_t num_rows = 0;
  float* sums = nullptr;
};
using FloatKernel = void (*)(const FloatTile& tile);

const RoundedKernels& rounded_kernels(InstructionSet set);
FloatKernel float_kernel(InstructionSet set);
// For BF16 weights and activations; null unless has_avx512_bf16() and `set` is kAvx512.
FloatKernel bf16_kernel(InstructionSet set);

namespace portable {
void unpack(ElementType type, const std::byte* chunk, int num_blocks, PanelChunk& panel);
void tile(const RoundedKernels::Tile& tile);
void float_tile(const FloatTile& tile);
}  // namespace portable
namespace avx2 {
void unpack(ElementType type, const std::byte* chunk, int num_blocks, PanelChunk& panel);
void tile(const RoundedKernels::Tile& tile);
void float_tile(const FloatTile& tile);
}  // namespace avx2
namespace avx512 {
void unpack(ElementType type, const std::byte* chunk, int num_blocks, PanelChunk& panel);
void tile(const RoundedKernels::Tile& tile);
void decode(const RoundedKernels::Decode& decode);
int decode_groups(ElementType type, int num_rows);
void round_row(const float* x, std::int64_t columns, std::int64_t stride, RoundedChunk* chunks);
void float_tile(const FloatTile& tile);
void bf16_tile(const FloatTile& tile);
}  // namespace avx512

}  // namespace tandem
