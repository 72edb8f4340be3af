#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/element_type.h"

namespace tandem {

// The rate, of a processor's three (bf16: 0 where it has none), of products with such weights.
double processor_product_rate(ElementType type, double int8, double bf16, double float32);

// What arithmetic with so many rows of activations takes, weights lying in a cache.
struct RowCost {
  double rows = 1;
  // In rows at the processor's own processor_product_rate(): 2 x weights operations each. A kernel
  // that reached that rate would have `rows`.
  double alone = 0;
  double together = 0;  // while all devices of the machine work

  bool operator==(const RowCost&) const = default;
};

// What a processor's kernels make of weights of one type, measured beside its ceilings
// (`bench --calibrate`). Products take the longer of reading the weights from memory,
// bytes / (read x bandwidth), and arithmetic, and of the shorter one what does not overlap with it.
struct KernelCosts {
  ElementType type = ElementType::kF32;
  double read = 1;            // of what the device reads alone
  double shared_read = 1;     // of its part of what all devices read together, while they do
  double overlap = 1;         // of the shorter of both, 0 to 1
  std::vector<RowCost> rows;  // ascending

  bool operator==(const KernelCosts&) const = default;
};

// RowCost at any number of rows from 1 on: between two measured ones in proportion, outside of them
// in proportion to the rows.
double arithmetic_rows(const KernelCosts& kernel, double rows, bool together);

// Seconds of reading and arithmetic as they overlap.
double overlapped(const KernelCosts& kernel, double reading_s, double arithmetic_s);

// What was measured for `type`, else for the type of its kind (quantised or not) whose numbers are
// nearest in size. Null only for an empty list.
const KernelCosts* find_kernel(std::span<const KernelCosts> kernels, ElementType type);

// What products of few rows with weights from memory took.
struct MemoryTimes {
  double bytes = 0;      // of the weights
  double read_gbps = 0;  // that there was to read meanwhile
  struct Row {
    double seconds = 0;
    double arithmetic_s = 0;  // of the same product with weights in a cache
  };
  std::vector<Row> rows;  // one row first, then more
};
// The share of what there was to read that the kernel reaches, given how reading and arithmetic
// overlap: all of it where arithmetic alone bounds one row, so that nothing tells.
double read_share(const MemoryTimes& times, double overlap);
// How they overlap, 0 to 1: what fits the rows beyond the first best, in the middle of them.
double overlap_of(const MemoryTimes& times);

// {"type", "read", "shared_read", "overlap", "rows": [[rows, alone, together], ...]}
nlohmann::json to_json(const KernelCosts& kernel);
Result<KernelCosts> kernel_costs_from_json(const nlohmann::json& json, const std::string& where);

}  // namespace tandem
