#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "device/cpu/instruction_set.h"
#include "tensor/element_type.h"

namespace tandem {

// Attention works in tiles of positions that start at multiples of kAttentionTile, and sums a
// context in splits of kAttentionSplit positions whose results are merged in order: the order of
// additions for a token depends on its position alone, however the work is divided.
inline constexpr int kAttentionTile = 64;
inline constexpr int kAttentionSplit = 512;
inline constexpr int kAttentionRows = 60;  // a multiple of every kernel's rows at once, in L2

// Does the CPU keep K of a head of a block by columns, [head_dim, block_tokens]? Scores of 16
// positions are then sums of products of whole vectors. Else, as V: [block_tokens, head_dim].
inline bool keys_by_columns(ElementType type, int block_tokens) {
  return type != ElementType::kQ8_0 && block_tokens % 16 == 0;
}

// Rows of queries that read the same KV head of one sequence: row = query * num_heads + head.
struct AttentionWork {
  const float* q = nullptr;   // the first query's first head; heads follow each other
  std::int64_t q_stride = 0;  // floats from one query to the next
  int num_queries = 0;
  int num_heads = 0;
  int first_position = 0;  // of the first query
  int head_dim = 0;
  float scale = 1.0f;
  float soft_cap = 0.0f;
  int window = 0;

  ElementType type = ElementType::kF16;
  const std::byte* k = nullptr;  // the KV head's first byte in block 0
  const std::byte* v = nullptr;
  std::int64_t row_bytes = 0;
  std::int64_t block_bytes = 0;  // from one block to the next
  int block_tokens = 0;
  bool by_columns = false;  // keys_by_columns()
  const std::int32_t* block_table = nullptr;

  int rows() const { return num_queries * num_heads; }
  int end_position() const { return first_position + num_queries; }
  // The first position that any query sees.
  int begin_position() const {
    return window > 0 && first_position >= window ? first_position - window + 1 : 0;
  }
};

// A softmax-weighted sum that is not finished: over some positions, for each row, the largest
// score, the sum of exp(score - largest), and the sum of exp(score - largest) * value.
struct AttentionPart {
  float* largest = nullptr;  // [padded rows]
  float* sum = nullptr;      // [padded rows]
  float* values = nullptr;   // [rows, padded head_dim]

  static std::int64_t floats(int rows, int head_dim);
  static AttentionPart at(float* memory, int rows, int head_dim);
};

// One thread's memory for attend_split.
struct AttentionScratch {
  float* q = nullptr;                // [rows of all works, head_dim], scaled
  float* keys = nullptr;             // [head_dim, kAttentionTile]
  float* values = nullptr;           // [kAttentionTile, padded head_dim]
  float* scores = nullptr;           // [rows, kAttentionTile]
  const std::byte* zeros = nullptr;  // a row of K or V that is zero
  static std::int64_t floats(int head_dim);
  static AttentionScratch at(float* memory, int head_dim);  // memory: zero where never written
};

// The inner loops of the CPU's ops, compiled once for each instruction set. Rows are dense; n may
// be any count. Results depend on nothing but the arguments.
struct Kernels {
  void (*rms_norm)(const float* x, const float* weight, float eps, std::int64_t n, float* out);
  void (*add)(float* x, const float* y, std::int64_t n);                       // x += y
  void (*scale)(float* x, float factor, std::int64_t n);                       // x *= factor
  void (*add_scaled)(float* x, const float* y, float factor, std::int64_t n);  // x += factor y
  void (*silu_gate)(float* gate, const float* up, std::int64_t n);             // gate = f(gate) up
  void (*gelu_gate)(float* gate, const float* up, std::int64_t n);
  void (*soft_cap)(float* x, float cap, std::int64_t n);
  void (*softmax)(const float* x, std::int64_t n, float* out);  // n > 0
  // Cosine and sine, times magnitude, of position * frequencies[i] radians; |position| < 2^24.
  void (*rope_angles)(std::int32_t position, const float* frequencies, float magnitude, int pairs,
                      float* cosines, float* sines);
  // Turn the first 2 * pairs elements of a head by pairs (i, i + pairs) or (2 i, 2 i + 1).
  void (*rope_halves)(float* head, const float* cosines, const float* sines, int pairs);
  void (*rope_pairs)(float* head, const float* cosines, const float* sines, int pairs);
  void (*f16)(const float* x, std::int64_t n, std::uint16_t* out);
  void (*q8_0)(const float* x, std::int64_t n, std::byte* out);  // n: a multiple of 32
  // The first index in [begin, n) with x[index] > threshold, or n.
  std::int64_t (*find_above)(const float* x, std::int64_t begin, std::int64_t n, float threshold);

  // Sets the part of each work to the sum over positions [split, split + 1) * kAttentionSplit that
  // its rows see. Works of the same queries with other KV heads, up to kAttentionRows rows in all:
  // they go through the tiles together, as the heads of a block lie side by side in memory.
  void (*attend_split)(std::span<const AttentionWork> works, int split,
                       const AttentionScratch& scratch, std::span<const AttentionPart> parts);
  // total += part; a total of no positions has largest = kNoScore and zeros.
  void (*merge_part)(int rows, int head_dim, const AttentionPart& part, const AttentionPart& total);
  // out = values / sum. out: like AttentionWork::q.
  void (*finish_attention)(const AttentionWork& work, const AttentionPart& total, float* out,
                           std::int64_t out_stride);
};

// The largest score of no positions: finite, so that differences stay numbers.
inline constexpr float kNoScore = -1e30f;

const Kernels& kernels_for(InstructionSet set);

namespace portable {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}

}  // namespace tandem
