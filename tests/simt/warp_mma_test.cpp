#include "device/cuda/warp_mma.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <vector>

#include "tensor/half.h"

namespace tandem::cuda {
namespace {

std::string run_warp(std::function<void(int lane)> body) {
  return simt::run_grid({1, 32, 0, [&] { body(static_cast<int>(threadIdx.x)); }, "warp"});
}

// Small whole numbers: every product and sum is exact in every type.
std::vector<int> whole_numbers(std::size_t count) {
  static std::mt19937 generator(3);
  std::vector<int> values(count);
  for (int& value : values) value = static_cast<int>(generator() % 15) - 7;
  return values;
}

// Multiplies a [16 x k] and b [k x 8] by `mma`, loading fragments as warp_mma.h draws them: the
// numbers of a register are `packed` neighbouring ones of `bits` bits.
template <typename Number, typename Mma, typename Encode>
void expect_product(int k, int packed, Encode encode, Mma mma) {
  const std::vector<int> a = whole_numbers(static_cast<std::size_t>(16 * k));
  const std::vector<int> b = whole_numbers(static_cast<std::size_t>(8 * k));
  const auto at = [](const std::vector<int>& m, int i) { return m[static_cast<std::size_t>(i)]; };
  std::vector<Number> d(16 * 8);
  const std::string error = run_warp([&](int lane) {
    const int g = lane / 4, t = lane % 4;
    std::uint32_t fa[4] = {}, fb[2] = {};
    for (int part = 0; part < 2; ++part) {
      for (int i = 0; i < packed; ++i) {
        const int column = packed * t + i + part * (k / 2);
        const int shift = i * (32 / packed);
        fa[2 * part] |= encode(at(a, g * k + column)) << shift;
        fa[2 * part + 1] |= encode(at(a, (g + 8) * k + column)) << shift;
        fb[part] |= encode(at(b, column * 8 + g)) << shift;
      }
    }
    Number out[4] = {Number(1), Number(2), Number(3), Number(4)};
    mma(out, fa, fb);
    for (int i = 0; i < 4; ++i) {
      d[static_cast<std::size_t>((g + i / 2 * 8) * 8 + 2 * t + i % 2)] = out[i] - Number(i + 1);
    }
  });
  ASSERT_EQ(error, "");
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      int sum = 0;
      for (int i = 0; i < k; ++i) sum += at(a, row * k + i) * at(b, i * 8 + column);
      EXPECT_EQ(d[static_cast<std::size_t>(row * 8 + column)], static_cast<Number>(sum));
    }
  }
}

TEST(WarpMma, F16) {
  expect_product<float>(
      16, 2, [](int x) { return std::uint32_t{f16_from_float(static_cast<float>(x))}; },
      [](float(&d)[4], const FragmentA& a, const FragmentB& b) { mma_m16n8k16_f16(d, a, b); });
}

TEST(WarpMma, Bf16) {
  expect_product<float>(
      16, 2, [](int x) { return std::uint32_t{bf16_from_float(static_cast<float>(x))}; },
      [](float(&d)[4], const FragmentA& a, const FragmentB& b) { mma_m16n8k16_bf16(d, a, b); });
}

TEST(WarpMma, Tf32) {
  expect_product<float>(
      8, 1, [](int x) { return std::bit_cast<std::uint32_t>(static_cast<float>(x)); },
      [](float(&d)[4], const FragmentA& a, const FragmentB& b) { mma_m16n8k8_tf32(d, a, b); });
}

TEST(WarpMma, S8) {
  expect_product<std::int32_t>(
      32, 4, [](int x) { return static_cast<std::uint32_t>(static_cast<std::uint8_t>(x)); },
      [](std::int32_t(&d)[4], const FragmentA& a, const FragmentB& b) {
        mma_m16n8k32_s8(d, a, b);
      });
}

// Two of half the depth are one.
TEST(WarpMma, S8OfHalfTheDepth) {
  expect_product<std::int32_t>(
      32, 4, [](int x) { return static_cast<std::uint32_t>(static_cast<std::uint8_t>(x)); },
      [](std::int32_t(&d)[4], const FragmentA& a, const FragmentB& b) {
        mma_m16n8k16_s8(d, {a[0], a[1]}, b[0]);
        mma_m16n8k16_s8(d, {a[2], a[3]}, b[1]);
      });
}

// Matrices of 8 x 8 beside each other: [8 rows, 4 * 8 columns].
TEST(WarpMma, LdmatrixDistributesRows) {
  alignas(16) std::uint16_t shared[8 * 32];
  for (int i = 0; i < 256; ++i) shared[i] = static_cast<std::uint16_t>(i);
  EXPECT_EQ(run_warp([&](int lane) {
              const int g = lane / 4, t = lane % 4;
              std::uint32_t r[4], transposed[4];
              const std::uint16_t* row = shared + lane % 8 * 32 + lane / 8 * 8;
              ldmatrix_x4(r, row);
              ldmatrix_x4_trans(transposed, row);
              for (int i = 0; i < 4; ++i) {
                const auto at = [&](int y, int x) {
                  return static_cast<std::uint32_t>(y * 32 + i * 8 + x);
                };
                if (r[i] != (at(g, 2 * t) | at(g, 2 * t + 1) << 16)) simt::fail("rows");
                if (transposed[i] != (at(2 * t, g) | at(2 * t + 1, g) << 16)) simt::fail("columns");
              }
            }),
            "");
}

// What is copied is there after the wait, and not before: a kernel that forgets to wait fails.
// Looking at what is being copied is a race; here it is the question.
[[gnu::noinline, gnu::no_sanitize("thread")]] int unseen(const int* number) {
  return *number;
}

TEST(WarpMma, AsynchronousCopiesArriveWithTheWait) {
  alignas(16) int from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  alignas(16) int to[8] = {};
  alignas(16) int zeros[4] = {9, 9, 9, 9};
  EXPECT_EQ(run_warp([&](int lane) {
              if (lane != 0) return;
              cp_async_16(to, from);
              cp_async_commit();
              cp_async_16(to + 4, from + 4);
              cp_async_16(zeros, from, false);
              cp_async_commit();
              if (unseen(to) != 0) simt::fail("too early");
              cp_async_wait<1>();
              if (unseen(to + 3) != 4 || unseen(to + 4) != 0) simt::fail("the first group alone");
              cp_async_wait<0>();
              if (to[7] != 8 || zeros[2] != 0) simt::fail("both");
            }),
            "");
}

}  // namespace
}  // namespace tandem::cuda
