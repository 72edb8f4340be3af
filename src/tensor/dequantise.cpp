#include <cstring>

#include "base/check.h"
#include "tensor/block_codes.h"
#include "tensor/half.h"
#include "tensor/quantise.h"

namespace tandem {
namespace {

// The scale of sub-block j, and what is added to its values.
struct SubBlock {
  float scale = 0.0f;
  float shift = 0.0f;
};

SubBlock sub_block(const BlockScheme& scheme, const BlockCodes& codes, int j) {
  switch (scheme.scale_form) {
    case ScaleForm::kHalf:
      return {float_from_f16(codes.d), 0.0f};
    case ScaleForm::kHalfWithMin:
      return {float_from_f16(codes.d), float_from_f16(codes.dmin)};
    case ScaleForm::kExponent:
      return {half_of_e8m0(codes.d), 0.0f};
    case ScaleForm::kSuper:
      return {float_from_f16(codes.d) * static_cast<float>(codes.scales[j]), 0.0f};
    case ScaleForm::kSuperWithMin:
      return {float_from_f16(codes.d) * static_cast<float>(codes.scales[j]),
              -(float_from_f16(codes.dmin) * static_cast<float>(codes.mins[j]))};
  }
  return {};
}

void values_of(const BlockScheme& scheme, const BlockCodes& codes, float* values) {
  const int size = scheme.sub_block_elements;
  for (int j = 0; j < scheme.block_elements / size; ++j) {
    const SubBlock sub = sub_block(scheme, codes, j);
    const std::uint8_t* q = codes.codes + j * size;
    float* out = values + j * size;
    if (scheme.table != nullptr) {
      for (int i = 0; i < size; ++i) out[i] = sub.scale * static_cast<float>(scheme.table[q[i]]);
    } else {
      const int offset = scheme.code_offset;
      for (int i = 0; i < size; ++i) {
        out[i] = sub.scale * static_cast<float>(q[i] - offset) + sub.shift;
      }
    }
  }
}

template <typename Convert>
void convert_halves(std::span<const std::byte> blocks, std::span<float> values, Convert convert) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, blocks.data() + 2 * i, 2);
    values[i] = convert(bits);
  }
}

}  // namespace

void dequantise(ElementType type, std::span<const std::byte> blocks, std::span<float> values) {
  const auto bytes = bytes_of(type, static_cast<std::int64_t>(values.size()));
  TANDEM_CHECK(bytes.has_value() && static_cast<std::size_t>(*bytes) == blocks.size(),
               "blocks and values do not agree");
  if (values.empty()) return;
  if (type == ElementType::kF32) {
    std::memcpy(values.data(), blocks.data(), blocks.size());
  } else if (type == ElementType::kF16) {
    convert_halves(blocks, values, float_from_f16);
  } else if (type == ElementType::kBF16) {
    convert_halves(blocks, values, float_from_bf16);
  } else {
    const BlockScheme* scheme = block_scheme_of(type);
    TANDEM_CHECK(scheme != nullptr, "integers are not weights");
    const auto block_bytes = static_cast<std::size_t>(traits_of(type).block_bytes);
    const auto block_elements = static_cast<std::size_t>(scheme->block_elements);
    BlockCodes codes;
    for (std::size_t i = 0; i < values.size() / block_elements; ++i) {
      unpack_block(type, blocks.data() + i * block_bytes, codes);
      values_of(*scheme, codes, values.data() + i * block_elements);
    }
  }
}

}  // namespace tandem
