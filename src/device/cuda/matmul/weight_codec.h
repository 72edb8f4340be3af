#pragma once

#include "device/cuda/cuda_api.h"
#include "device/cuda/matmul/unroll.h"
#include "tensor/fragment_layout.h"

// Device code that takes the chunks of fragment_layout.h apart: load_codes() and load_scales()
// issue the loads of a chunk, levels() shifts a block's codes into mma operands, factors() computes
// its scales. Apart, so that kernels have the loads of later chunks in flight while they compute.

namespace tandem::cuda {

// What stays packed: a lane's 2 to 8 words of a chunk's codes, and the words that hold its scales.
template <int kLow, int kHigh>
struct PackedCodes {
  std::uint32_t low[kLow];
  std::uint32_t high[kHigh];
};
template <int kWords>
struct PackedScales {
  std::uint32_t words[kWords];
};

// The scales of one block of 32 columns of the lane's rows g (0) and g + 8 (1):
// value = scale * level + shift, with one pair for each 16 columns where blocks are small.
template <int kSubs>
struct BlockFactors {
  float scale[2][kSubs];
  float shift[2][kSubs];
};

template <int kWords>
__device__ __forceinline__ void load_words(const std::uint8_t* from, std::uint32_t* words) {
  if constexpr (kWords == 4) {
    const uint4 v = __ldg(reinterpret_cast<const uint4*>(from));
    words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
  } else if constexpr (kWords == 2) {
    const uint2 v = __ldg(reinterpret_cast<const uint2*>(from));
    words[0] = v.x, words[1] = v.y;
  } else {
    words[0] = __ldg(reinterpret_cast<const std::uint32_t*>(from));
  }
}

__device__ __forceinline__ float low_half(std::uint32_t word) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(word & 0xffffu)));
}
__device__ __forceinline__ float high_half(std::uint32_t word) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(word >> 16)));
}

// A number below 2^23 as a float: in the bits of 2^23, whose last one is worth 1. Two instructions
// of full rate; the conversion has a quarter of it or less.
__device__ __forceinline__ float small_float(std::uint32_t x) {
  return __uint_as_float(0x4b000000u | x) - 0x1p23f;
}

// Four codes of four bits, in the low 16 bits of `codes`, to the levels of a table of 16 bytes.
// __byte_perm looks up three bits; the fourth chooses between the halves of the table.
__device__ __forceinline__ std::uint32_t look_up(std::uint32_t codes, std::uint32_t t0,
                                                 std::uint32_t t1, std::uint32_t t2,
                                                 std::uint32_t t3) {
  const std::uint32_t index = codes & 0x7777u;
  const std::uint32_t half = 0x3210u | ((codes & 0x8888u) >> 1);
  return __byte_perm(__byte_perm(t0, t1, index), __byte_perm(t2, t3, index), half);
}

template <ElementType kType>
struct WeightCodec {
  static constexpr FragmentTraits kTraits = fragment_traits(kType);
  static constexpr bool kHalves = kTraits.levels == LevelForm::kHalves;
  static constexpr bool kHasMin = kTraits.has_min();
  static constexpr int kUnitBytes = kTraits.unit_bytes();
  static constexpr int kSubs = kTraits.has_small_blocks() ? 2 : 1;
  static constexpr int kLow = kTraits.low_bytes / 128;
  static constexpr int kHigh = kTraits.high_bytes / 128;
  static constexpr int kScaleWords = kTraits.scales == ScaleLayout::kHalf          ? 2
                                     : kTraits.scales == ScaleLayout::kHalfWithMin ? 4
                                     : kTraits.scales == ScaleLayout::kExponent    ? 1
                                     : kTraits.scales == ScaleLayout::kPackedSix   ? 8
                                     : kTraits.scales == ScaleLayout::kInt8        ? 3
                                     : kTraits.scales == ScaleLayout::kNone        ? 0
                                                                                   : 4;
  // Do all chunks of a unit have the same words of scales?
  static constexpr bool kSharesScales =
      kTraits.scales == ScaleLayout::kPackedSix || kTraits.scales == ScaleLayout::kIq4Xs;
  using Codes = PackedCodes<kLow, kHigh == 0 ? 1 : kHigh>;
  using Scales = PackedScales<kScaleWords == 0 ? 1 : kScaleWords>;
  using Factors = BlockFactors<kSubs>;

  // `unit`: the unit's first byte; `chunk`: of the unit.
  static __device__ __forceinline__ void load_codes(const std::uint8_t* unit, int chunk, int lane,
                                                    Codes& raw) {
    const std::uint8_t* low = unit + chunk * kTraits.low_bytes;
    if constexpr (kLow == 8) {
      load_words<4>(low + lane * 16, raw.low);
      load_words<4>(low + 512 + lane * 16, raw.low + 4);
    } else {
      load_words<kLow>(low + lane * 4 * kLow, raw.low);
    }
    if constexpr (kHigh > 0) {
      load_words<kHigh>(
          unit + kTraits.chunks * kTraits.low_bytes + chunk * kTraits.high_bytes + lane * 4 * kHigh,
          raw.high);
    }
  }

  static __device__ __forceinline__ void load_scales(const std::uint8_t* unit, int chunk, int lane,
                                                     Scales& raw) {
    const std::uint8_t* scales = unit + kTraits.chunks * (kTraits.low_bytes + kTraits.high_bytes);
    std::uint32_t* words = raw.words;
    const int g = lane / 4;
    if constexpr (kTraits.scales == ScaleLayout::kPackedSix) {
      load_words<4>(scales + g * 16, words);
      load_words<4>(scales + (g + 8) * 16, words + 4);
    } else if constexpr (kTraits.scales == ScaleLayout::kInt8) {
      load_words<1>(scales + chunk * 64 + g * 4, words);
      load_words<1>(scales + chunk * 64 + (g + 8) * 4, words + 1);
      load_words<1>(scales + 256 + g * 4, words + 2);
    } else if constexpr (kTraits.scales == ScaleLayout::kNibbles) {
      load_words<1>(scales + chunk * 64 + g * 4, words);
      load_words<1>(scales + chunk * 64 + (g + 8) * 4, words + 1);
      load_words<2>(scales + 256 + g * 8, words + 2);
    } else if constexpr (kTraits.scales == ScaleLayout::kIq4Xs) {
      load_words<2>(scales + g * 8, words);
      load_words<2>(scales + (g + 8) * 8, words + 2);
    } else if constexpr (kScaleWords > 0) {
      load_words<kScaleWords>(scales + g * 4 * kScaleWords, words);
    }
  }

  // The A operand of block `b` (0, 1) of the chunk.
  static __device__ __forceinline__ void levels(const Codes& raw, int b, std::uint32_t (&a)[4]) {
    if constexpr (kTraits.bits >= 8) {
      TANDEM_UNROLL
      for (int r = 0; r < 4; ++r) a[r] = raw.low[4 * b + r];
    } else if constexpr (kTraits.levels == LevelForm::kIq4) {
      TANDEM_UNROLL
      for (int r = 0; r < 4; ++r) {
        a[r] = look_up(raw.low[2 * b + r / 2] >> (16 * (r % 2)), 0xbfad9881u, 0xf6eaddcfu,
                       0x26190d01u, 0x71594535u);
      }
    } else if constexpr (kTraits.levels == LevelForm::kE2m1) {
      TANDEM_UNROLL
      for (int r = 0; r < 4; ++r) {
        a[r] = look_up(raw.low[2 * b + r / 2] >> (16 * (r % 2)), 0x03020100u, 0x0c080604u,
                       0xfdfeff00u, 0xf4f8fafcu);
      }
    } else {
      TANDEM_UNROLL
      for (int r = 0; r < 4; ++r) a[r] = plain_level(raw, b, r);
    }
  }

  // Bits of two words shifted to their places in each byte: unsigned codes to the bottom, centred
  // ones to the top.
  static __device__ __forceinline__ std::uint32_t plain_level(const Codes& raw, int b, int r) {
    constexpr bool kTop = kTraits.levels == LevelForm::kCentred;
    constexpr int kUp = kTop ? 8 - kTraits.bits : 0;
    constexpr int kLowBits = kLow == 4 ? 4 : 2;
    constexpr std::uint32_t kLowMask = 0x01010101u * (((1u << kLowBits) - 1) << kUp);
    const std::uint32_t low = kLow == 4 ? raw.low[2 * b + r / 2] : raw.low[b];
    const int low_at = kLow == 4 ? 4 * (r % 2) : 2 * r;
    std::uint32_t level = shift(low, kUp - low_at) & kLowMask;
    if constexpr (kHigh > 0) {
      constexpr std::uint32_t kHighMask =
          0x01010101u * ((kHigh == 2 ? 3u : 1u) << (kUp + kLowBits));
      const std::uint32_t high = kHigh == 2 ? raw.high[b] : raw.high[0];
      const int high_at = kHigh == 2 ? 2 * r : r + 4 * b;
      level |= shift(high, kUp + kLowBits - high_at) & kHighMask;
    }
    return level;
  }
  static __device__ __forceinline__ std::uint32_t shift(std::uint32_t word, int left) {
    return left >= 0 ? word << left : word >> -left;
  }

  // The scales of block `b` of chunk `chunk` of the unit.
  static __device__ __forceinline__ void factors(const Scales& raw, int chunk, int b, Factors& f) {
    const std::uint32_t* words = raw.words;
    // Centred levels stand 2^(8 - bits) too high.
    constexpr float kUnit = kTraits.levels == LevelForm::kCentred
                                ? 1.0f / static_cast<float>(1 << (8 - kTraits.bits))
                                : 1.0f;
    TANDEM_UNROLL
    for (int h = 0; h < 2; ++h) {
      if constexpr (kTraits.scales == ScaleLayout::kHalf) {
        f.scale[h][0] = kUnit * (b == 0 ? low_half(words[h]) : high_half(words[h]));
      } else if constexpr (kTraits.scales == ScaleLayout::kHalfWithMin) {
        f.scale[h][0] = low_half(words[2 * h + b]);
        f.shift[h][0] = high_half(words[2 * h + b]);
      } else if constexpr (kTraits.scales == ScaleLayout::kExponent) {
        f.scale[h][0] = half_of_exponent((words[0] >> (16 * h + 8 * b)) & 0xffu);
      } else if constexpr (kTraits.scales == ScaleLayout::kPackedSix) {
        const std::uint32_t* row = words + 4 * h;
        const int at = 4 * (2 * chunk + b);
        const std::uint32_t high = row[3] >> at;
        const std::uint32_t scale = ((row[1] >> at) & 15u) | ((high & 3u) << 4);
        const std::uint32_t min = ((row[2] >> at) & 15u) | ((high & 12u) << 2);
        f.scale[h][0] = low_half(row[0]) * small_float(scale);
        f.shift[h][0] = -high_half(row[0]) * small_float(min);
      } else if constexpr (kTraits.scales == ScaleLayout::kInt8) {
        const float d = kUnit * (h == 0 ? low_half(words[2]) : high_half(words[2]));
        TANDEM_UNROLL
        for (int s = 0; s < 2; ++s) {
          // int8 + 128 without a sign
          const std::uint32_t raised = ((words[h] ^ 0x80808080u) >> (16 * b + 8 * s)) & 0xffu;
          f.scale[h][s] = d * (small_float(raised) - 128.0f);
        }
      } else if constexpr (kTraits.scales == ScaleLayout::kNibbles) {
        TANDEM_UNROLL
        for (int s = 0; s < 2; ++s) {
          const std::uint32_t both = words[h] >> (16 * b + 8 * s);
          f.scale[h][s] = low_half(words[2 + h]) * small_float(both & 15u);
          f.shift[h][s] = -high_half(words[2 + h]) * small_float((both >> 4) & 15u);
        }
      } else if constexpr (kTraits.scales == ScaleLayout::kIq4Xs) {
        const std::uint32_t* row = words + 2 * h;
        const int block = 2 * chunk + b;
        const std::uint32_t low = (row[1] >> (4 * block)) & 15u;
        const std::uint32_t high = (row[0] >> (16 + 2 * block)) & 3u;
        f.scale[h][0] = low_half(row[0]) * (small_float(low | high << 4) - 32.0f);
      }
    }
  }

  // 2^(e - 128): the levels of MXFP4 stand doubled in the table.
  static __device__ __forceinline__ float half_of_exponent(std::uint32_t e) {
    return __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  }
};

}  // namespace tandem::cuda
