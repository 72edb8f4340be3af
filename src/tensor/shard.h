#pragma once

#include <cstdint>
#include <vector>

namespace tandem {

// The half-open interval [begin, end) of indices along an axis.
struct Interval {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool empty() const { return end <= begin; }
  bool contains(std::int64_t index) const { return begin <= index && index < end; }
  bool operator==(const Interval&) const = default;
};

// Which part of a tensor a rank of a tensor-parallel group holds.
//
// Matrices are [rows, columns] = [output, input]; a stack of experts is [experts, rows, columns].
// A column-parallel layer splits the rows of its matrix (its output), a row-parallel one the
// columns (its input) and yields a result that is Partial until it is reduced.
enum class ShardAxis : std::uint8_t { kExperts, kRows, kColumns };

struct Shard {
  enum class Kind : std::uint8_t { kReplicated, kSplit, kPartial };

  Kind kind = Kind::kReplicated;
  ShardAxis axis = ShardAxis::kRows;  // meaningful only for kSplit
  // What the rank holds, in this order. Several segments where a tensor fuses several matrices
  // (phi3's QKV); none where the rank holds nothing.
  std::vector<Interval> segments;

  static Shard replicated() { return {}; }
  static Shard split(ShardAxis axis, std::vector<Interval> segments) {
    return {Kind::kSplit, axis, std::move(segments)};
  }
  static Shard partial() { return {Kind::kPartial, ShardAxis::kRows, {}}; }

  std::int64_t size() const {
    std::int64_t total = 0;
    for (const Interval& segment : segments) total += segment.size();
    return total;
  }
  bool operator==(const Shard&) const = default;
};

}  // namespace tandem
