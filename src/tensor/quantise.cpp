#include "tensor/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/block_codes.h"
#include "tensor/half.h"

namespace tandem {
namespace {

// The number of largest magnitude, with its sign.
float extreme_of(const float* values, int count) {
  float extreme = 0.0f;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  return extreme;
}

std::uint8_t nearest_code(float level, const BlockScheme& scheme) {
  if (scheme.table != nullptr) {
    const auto distance = [&](int code) {
      return std::fabs(level - static_cast<float>(scheme.table[code]));
    };
    int best = 0;
    for (int code = 1; code < 16; ++code) {
      if (distance(code) < distance(best)) best = code;
    }
    return static_cast<std::uint8_t>(best);
  }
  const long code = std::lrint(level) + scheme.code_offset;
  return static_cast<std::uint8_t>(std::clamp(code, 0L, (1L << scheme.code_bits) - 1));
}

void round_to_codes(const float* values, int count, float scale, float shift,
                    const BlockScheme& scheme, std::uint8_t* codes) {
  const float inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
  for (int i = 0; i < count; ++i) codes[i] = nearest_code((values[i] - shift) * inverse, scheme);
}

// The level that the extreme value of a sub-block is given: the end of the range with the larger
// magnitude, which for -8..7 or -127..113 is the negative one.
float extreme_level(const BlockScheme& scheme) {
  if (scheme.table != nullptr) return static_cast<float>(scheme.table[0]);
  return scheme.code_bits == 8 ? 127.0f : static_cast<float>(-scheme.code_offset);
}

float largest_code(const BlockScheme& scheme) {
  return static_cast<float>((1 << scheme.code_bits) - 1);
}

float round_to_half(float value, std::uint16_t& bits) {
  bits = f16_from_float(value);
  return float_from_f16(bits);
}

void quantise_small_block(const BlockScheme& scheme, const float* values, BlockCodes& codes) {
  const int size = scheme.block_elements;
  float scale = 0.0f;
  float shift = 0.0f;
  if (scheme.scale_form == ScaleForm::kHalfWithMin) {
    const auto [low, high] = std::minmax_element(values, values + size);
    scale = round_to_half((*high - *low) / largest_code(scheme), codes.d);
    shift = round_to_half(*low, codes.dmin);
  } else if (scheme.scale_form == ScaleForm::kExponent) {
    // The largest E2M1 number is 6 = 1.5 * 2^2: its exponent meets that of the extreme value
    // (OCP Microscaling Formats 1.0, section 6.3).
    const float extreme = std::fabs(extreme_of(values, size));
    const int exponent = extreme > 0.0f ? std::clamp(std::ilogb(extreme), -125, 129) : -125;
    codes.d = static_cast<std::uint16_t>(exponent - 2 + 127);
    scale = half_of_e8m0(codes.d);
  } else {
    scale = round_to_half(extreme_of(values, size) / extreme_level(scheme), codes.d);
  }
  round_to_codes(values, size, scale, shift, scheme, codes.codes);
}

// Sub-block scales as floats first; the largest of them decides d, the others become integers.
void quantise_super_block(const BlockScheme& scheme, const float* values, BlockCodes& codes) {
  const int size = scheme.sub_block_elements;
  const int count = scheme.block_elements / size;
  const bool with_min = scheme.scale_form == ScaleForm::kSuperWithMin;
  const auto limit = static_cast<float>(scheme.scale_limit);
  float scales[16];
  float mins[16] = {};
  for (int j = 0; j < count; ++j) {
    const float* part = values + j * size;
    if (with_min) {
      const auto [low, high] = std::minmax_element(part, part + size);
      mins[j] = std::max(0.0f, -*low);
      scales[j] = std::max(0.0f, *high + mins[j]) / largest_code(scheme);
    } else {
      scales[j] = extreme_of(part, size) / extreme_level(scheme);
    }
  }
  const float d = round_to_half(std::fabs(extreme_of(scales, count)) / limit, codes.d);
  const float dmin = round_to_half(extreme_of(mins, count) / limit, codes.dmin);
  const auto to_integer = [&](float value, float unit) {
    const long steps = unit == 0.0f ? 0 : std::lrint(value / unit);
    return static_cast<float>(std::clamp<long>(steps, -scheme.scale_limit, scheme.scale_limit));
  };
  for (int j = 0; j < count; ++j) {
    const float scale = to_integer(scales[j], d);
    const float min = to_integer(mins[j], dmin);
    codes.scales[j] = static_cast<std::int8_t>(scale);
    codes.mins[j] = static_cast<std::uint8_t>(min);
    round_to_codes(values + j * size, size, d * scale, -dmin * min, scheme, codes.codes + j * size);
  }
}

template <typename Convert>
void convert_to_halves(std::span<const float> values, std::span<std::byte> blocks,
                       Convert convert) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = convert(values[i]);
    std::memcpy(blocks.data() + 2 * i, &bits, 2);
  }
}

}  // namespace

void quantise(ElementType type, std::span<const float> values, std::span<std::byte> blocks) {
  const auto bytes = bytes_of(type, static_cast<std::int64_t>(values.size()));
  TANDEM_CHECK(bytes.has_value() && static_cast<std::size_t>(*bytes) == blocks.size(),
               "blocks and values do not agree");
  if (values.empty()) return;
  if (type == ElementType::kF32) {
    std::memcpy(blocks.data(), values.data(), blocks.size());
  } else if (type == ElementType::kF16) {
    convert_to_halves(values, blocks, f16_from_float);
  } else if (type == ElementType::kBF16) {
    convert_to_halves(values, blocks, bf16_from_float);
  } else {
    const BlockScheme* scheme = block_scheme_of(type);
    TANDEM_CHECK(scheme != nullptr, "integers are not weights");
    const auto block_bytes = static_cast<std::size_t>(traits_of(type).block_bytes);
    const auto block_elements = static_cast<std::size_t>(scheme->block_elements);
    BlockCodes codes = {};
    for (std::size_t i = 0; i < values.size() / block_elements; ++i) {
      const float* part = values.data() + i * block_elements;
      scheme->block_elements == 256 ? quantise_super_block(*scheme, part, codes)
                                    : quantise_small_block(*scheme, part, codes);
      pack_block(type, codes, blocks.data() + i * block_bytes);
    }
  }
}

}  // namespace tandem
