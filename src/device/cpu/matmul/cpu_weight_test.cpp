#include "device/cpu/matmul/cpu_weight.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "device/cpu/matmul/file_weight_for_test.h"
#include "device/cpu/matmul/packed_layout.h"

namespace tandem {
namespace {

// Rows as a device keeps them: some bytes lie between them.
TEST(CpuWeight, EveryInstructionSetPacksTheSameBytes) {
  for (const ElementType type : weight_types(false)) {
    for (const std::int64_t num_rows : {16, 5}) {
      const FileWeight weight(type, 1, num_rows, 512 + traits_of(type).block_elements);
      const std::int64_t stride = weight.row_bytes() + 64;
      std::vector<std::byte> apart(static_cast<std::size_t>(num_rows * stride));
      std::vector<const std::byte*> rows;
      for (std::int64_t row = 0; row < num_rows; ++row) {
        rows.push_back(apart.data() + row * stride);
        std::memcpy(apart.data() + row * stride, weight.bytes.data() + row * weight.row_bytes(),
                    static_cast<std::size_t>(weight.row_bytes()));
      }
      const auto pack = [&](InstructionSet set) {
        std::vector<std::byte> group(
            static_cast<std::size_t>(packed_group_bytes(type, weight.columns)), std::byte{0xa5});
        pack_group(type, weight.columns, rows, group.data(), set);
        return group;
      };
      const std::vector<std::byte> expected = pack(InstructionSet::kPortable);
      for (const InstructionSet set : available_sets()) {
        EXPECT_EQ(pack(set), expected) << traits_of(type).name << " " << name_of(set);
      }
    }
  }
}

TEST(WeightArena, PiecesLieBehindEachOtherAndOutliveTheArena) {
  WeightArena::Piece second;
  {
    WeightArena arena;
    const WeightArena::Piece first = arena.allocate(100).value();
    second = arena.allocate(64).value();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.data) % 64, 0u);
    EXPECT_EQ(second.data, first.data + 128);
    const WeightArena::Piece large = arena.allocate(std::int64_t{1} << 30).value();
    large.data[(std::int64_t{1} << 30) - 1] = std::byte{1};
    EXPECT_FALSE(arena.allocate(std::int64_t{1} << 60).ok());
  }
  std::memset(second.data, 7, 64);
  EXPECT_EQ(second.data[63], std::byte{7});
}

TEST(CpuWeight, RefusesWhatHasNoProducts) {
  WeightArena arena;
  ThreadPool pool({0}, false);
  WeightSource source;
  source.type = ElementType::kI32;
  auto refused = load_cpu_weight(source, pool, Arithmetic::kInt8, InstructionSet::kPortable, arena);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  source.type = ElementType::kQ4_K;
  source.rows = 1;
  source.columns = 32;
  refused = load_cpu_weight(source, pool, Arithmetic::kInt8, InstructionSet::kPortable, arena);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  source.type = ElementType::kF32;
  source.rows = std::int64_t{1} << 60;
  source.columns = std::int64_t{1} << 20;
  refused = load_cpu_weight(source, pool, Arithmetic::kInt8, InstructionSet::kPortable, arena);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
}

TEST(CpuWeight, ReportsEveryRowDoneOnce) {
  const FileWeight weight(ElementType::kQ4_0, 2, 150, 64);
  for (const Arithmetic arithmetic : {Arithmetic::kInt8, Arithmetic::kFloat}) {
    std::vector<int> done(300, 0);
    WeightArena arena;
    ThreadPool pool({0, 0}, false);
    WeightSource source = weight.source();
    source.rows_done = [&](std::int64_t expert, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        ++done[static_cast<std::size_t>(expert * 150 + row)];
      }
    };
    ASSERT_TRUE(load_cpu_weight(source, pool, arithmetic, InstructionSet::kPortable, arena).ok());
    EXPECT_EQ(done, std::vector<int>(300, 1));
  }
}

}  // namespace
}  // namespace tandem
