#pragma once

#include <cstdint>
#include <span>

#include "tensor/element_type.h"

namespace tandem {

class Weight;

// Activations are float32, row-major, in device memory; views own nothing.
// [rows, columns] with `row_stride` floats from one row to the next (>= columns).
struct MatrixView {
  float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;

  float* row(std::int64_t index) const { return data + index * row_stride; }
  MatrixView slice_rows(std::int64_t begin, std::int64_t count) const {
    return {data + begin * row_stride, count, columns, row_stride};
  }
  MatrixView slice_columns(std::int64_t begin, std::int64_t count) const {
    return {data + begin, rows, count, row_stride};
  }
};

inline MatrixView dense(float* data, std::int64_t rows, std::int64_t columns) {
  return {data, rows, columns, columns};
}

// One layer's keys and values of this rank, in pages ("blocks") of `block_tokens` positions.
// k and v: [num_blocks, num_kv_heads, block_tokens, head_dim] of `type` (kF16, kF32 or kQ8_0; for
// kQ8_0 head_dim is a multiple of 32). A slot is block_index * block_tokens + offset in the block.
// Within a head of a block a device may lay out k as it likes: only its own ops read it.
struct KvView {
  void* k = nullptr;
  void* v = nullptr;
  ElementType type = ElementType::kF16;
  std::int32_t num_blocks = 0;
  std::int32_t block_tokens = 0;
  std::int32_t num_kv_heads = 0;
  std::int32_t head_dim = 0;
};

// One sequence's part of a batch: tokens [first_token, first_token + num_tokens) are its next
// positions; the last of them stands at position context_tokens - 1. Earlier positions are in the
// cache. Prefill chunks and decodes (num_tokens = 1) look alike.
struct SequenceSlice {
  std::int32_t first_token = 0;
  std::int32_t num_tokens = 0;
  std::int32_t context_tokens = 0;
  // The sequence's blocks in order of position, at least ceil(context_tokens / block_tokens).
  // Host memory, valid until the stream has passed the op.
  std::span<const std::int32_t> block_table;
};

// One result of a matrix product: y = x * weight^T (+ bias).
struct MatmulTarget {
  const Weight* weight = nullptr;  // [y.columns, x.columns]
  const float* bias = nullptr;     // [y.columns] in device memory, or null
  MatrixView y;                    // [x.rows, weight rows]
};

enum class RopeStyle : std::uint8_t {
  kAdjacentPairs,  // (0,1), (2,3), ...: llama
  kHalves,         // (0, n/2), (1, n/2 + 1), ...: NEOX
};

struct RopeArgs {
  MatrixView x;  // [num_tokens, num_heads * head_dim], in place
  std::int32_t head_dim = 0;
  std::int32_t rope_dims = 0;  // the first rope_dims of each head turn; even
  RopeStyle style = RopeStyle::kAdjacentPairs;
  const float* inverse_frequencies = nullptr;  // [rope_dims / 2], radians a position; device memory
  float magnitude = 1.0f;                      // cos and sin are multiplied by it (YaRN, longrope)
  const std::int32_t* positions = nullptr;     // [num_tokens], device memory
};

struct AttentionArgs {
  MatrixView q;    // [num_tokens, num_q_heads * head_dim]
  KvView kv;       // already holds the keys and values of this batch's tokens
  MatrixView out;  // like q
  std::span<const SequenceSlice> sequences;  // host memory, valid until the stream has passed
  std::int32_t num_q_heads = 0;
  // Local query head h reads local KV head (h + q_head_offset) / q_heads_per_kv_head: the offset is
  // not zero where a rank holds part of a KV head's queries.
  std::int32_t q_heads_per_kv_head = 1;
  std::int32_t q_head_offset = 0;
  float scale = 1.0f;       // scores = scale * q.k
  float soft_cap = 0.0f;    // 0: none; else scores = cap * tanh(scores / cap)
  std::int32_t window = 0;  // 0: none; else position q sees position k if q - k < window
};

enum class GateKind : std::uint8_t { kSilu, kGeluTanh };

struct RouteArgs {
  MatrixView logits;  // [num_tokens, num_experts]
  std::int32_t top_k = 0;
  bool normalise = true;  // the chosen weights sum to 1
  float weight_scale = 1.0f;
  std::int32_t* expert_ids = nullptr;  // [num_tokens, top_k], best first; ties to the lower id
  float* weights = nullptr;            // [num_tokens, top_k]: softmax over all experts
};

// y[t * top_k + j] = x_row * experts[expert_ids[t, j] - first_expert]^T, or zeros where that expert
// is not among this shard's. x has one row a token, or one a (token, choice) pair.
struct ExpertMatmulTarget {
  const Weight* experts = nullptr;  // [num_experts of the shard, y.columns, x.columns]
  MatrixView y;                     // [num_tokens * top_k, rows]
};
struct ExpertMatmulArgs {
  MatrixView x;  // [num_tokens, columns] or [num_tokens * top_k, columns]
  std::span<const ExpertMatmulTarget> targets;
  const std::int32_t* expert_ids = nullptr;  // [num_tokens, top_k], device memory
  std::int32_t num_tokens = 0;
  std::int32_t top_k = 0;
  std::int32_t first_expert = 0;
};

// What a half of a layer begins with: x += residual, where there is one, and out = the normed x.
struct NormArgs {
  MatrixView x;
  MatrixView residual;            // like x, or without rows
  const float* weight = nullptr;  // [x.columns]
  float eps = 0.0f;
  MatrixView out;  // like x, and not x
};

// The arithmetic that layers are made of. Each op is stream-ordered (see Stream), takes device
// memory unless it says otherwise, allocates nothing a caller can see, and treats zero rows, zero
// columns and zero targets as nothing to do. Shapes that do not agree are a bug.
class Ops {
 public:
  virtual ~Ops() = default;

  // out[i] = scale * row ids[i] of the table. `table` is [vocabulary, hidden] in the file's blocks
  // in *host* memory (the mapped file): only the rows that are used become resident, and no device
  // holds the whole table. ids: host memory, valid until the stream has passed.
  virtual void embed(ElementType type, std::span<const std::byte> table,
                     std::span<const std::int32_t> ids, float scale, MatrixView out) = 0;

  // out = x / sqrt(mean(x^2) + eps) * weight, for each row. weight: [x.columns]; out may be x.
  virtual void rms_norm(MatrixView x, const float* weight, float eps, MatrixView out) = 0;
  // The same over each head of [num_tokens, num_heads * head_dim], in place. weight: [head_dim].
  virtual void rms_norm_heads(MatrixView x, std::int32_t head_dim, const float* weight,
                              float eps) = 0;

  // x += y.
  virtual void add(MatrixView x, MatrixView y) = 0;

  // All targets share x, which is rounded (Arithmetic::kInt8) once for all of them.
  virtual void matmul(MatrixView x, std::span<const MatmulTarget> targets) = 0;

  virtual void rope(const RopeArgs& args) = 0;

  // Writes k and v, each [num_tokens, num_kv_heads * head_dim], to slots[token]. slots: host
  // memory, valid until the stream has passed.
  virtual void store_kv(MatrixView k, MatrixView v, const KvView& kv,
                        std::span<const std::int64_t> slots) = 0;
  virtual void attention(const AttentionArgs& args) = 0;

  // gate = f(gate) * up. up may be a column slice of the same matrix.
  virtual void gated_activation(GateKind kind, MatrixView gate, MatrixView up) = 0;

  virtual void route_experts(const RouteArgs& args) = 0;
  virtual void expert_matmul(const ExpertMatmulArgs& args) = 0;
  // out[t] = sum over j of weights[t, j] * y[t * top_k + j], added in the order of j.
  virtual void combine_experts(MatrixView y, const float* weights, std::int32_t top_k,
                               MatrixView out) = 0;

  // Sequences of the above that a device may compute as one, with the same bits.

  virtual void add_norm(const NormArgs& args) {
    if (args.residual.rows > 0) add(args.x, args.residual);
    rms_norm(args.x, args.weight, args.eps, args.out);
  }
  // add_norm(), and matmul() of the result. norm.out is room for it, with any contents afterwards.
  virtual void norm_matmul(const NormArgs& norm, std::span<const MatmulTarget> targets) {
    add_norm(norm);
    matmul(norm.out, targets);
  }
  // The same with gate.y = f(gate.y) * up.y for the two results. up.y may hold anything afterwards.
  virtual void norm_gated_matmul(const NormArgs& norm, GateKind kind, const MatmulTarget& gate,
                                 const MatmulTarget& up) {
    const MatmulTarget targets[] = {gate, up};
    norm_matmul(norm, targets);
    gated_activation(kind, gate.y, up.y);
  }
  // expert_matmul() of two targets, gate and up, and the same with their results.
  virtual void gated_expert_matmul(GateKind kind, const ExpertMatmulArgs& args) {
    expert_matmul(args);
    gated_activation(kind, args.targets[0].y, args.targets[1].y);
  }

  // x = cap * tanh(x / cap).
  virtual void soft_cap(MatrixView x, float cap) = 0;

  // rows of `out` = rows of x at `indices` (host memory, valid until the stream has passed).
  virtual void gather_rows(MatrixView x, std::span<const std::int32_t> indices, MatrixView out) = 0;

  // The k largest of each row, best first, ties to the lower index. values, indices: [rows, k].
  virtual void top_k(MatrixView x, std::int32_t k, float* values, std::int32_t* indices) = 0;
};

}  // namespace tandem
