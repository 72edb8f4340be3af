#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "device/cpu/cpu_context.h"
#include "device/ops.h"

namespace tandem::cpu_ops {

// The ops of device/ops.h on the host's cores, matrix products aside: one file each. They return
// when done and throw nothing but bad_alloc. A token's results are the same bits whatever else is
// in the batch and however many threads work.

// kInvalidArgument for an id that the table does not have: ids come from requests.
Status embed(CpuContext& context, ElementType type, std::span<const std::byte> table,
             std::span<const std::int32_t> ids, float scale, MatrixView out);
void rms_norm(CpuContext& context, MatrixView x, const float* weight, float eps, MatrixView out);
void rms_norm_heads(CpuContext& context, MatrixView x, std::int32_t head_dim, const float* weight,
                    float eps);
void add(CpuContext& context, MatrixView x, MatrixView y);
void rope(CpuContext& context, const RopeArgs& args);
void store_kv(CpuContext& context, MatrixView k, MatrixView v, const KvView& kv,
              std::span<const std::int64_t> slots);
void attention(CpuContext& context, const AttentionArgs& args);
void gated_activation(CpuContext& context, GateKind kind, MatrixView gate, MatrixView up);
void route_experts(CpuContext& context, const RouteArgs& args);
void combine_experts(CpuContext& context, MatrixView y, const float* weights, std::int32_t top_k,
                     MatrixView out);
void soft_cap(CpuContext& context, MatrixView x, float cap);
void gather_rows(CpuContext& context, MatrixView x, std::span<const std::int32_t> indices,
                 MatrixView out);
void top_k(CpuContext& context, MatrixView x, std::int32_t k, float* values, std::int32_t* indices);

}  // namespace tandem::cpu_ops
