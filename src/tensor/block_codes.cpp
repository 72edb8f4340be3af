#include "tensor/block_codes.h"

#include <bit>

namespace tandem {
namespace {

// ggml-common.h, kvalues_iq4nl and kvalues_mxfp4 (the E2M1 numbers, doubled).
constexpr std::int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
constexpr std::int8_t kE2m1Levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

constexpr BlockScheme kQ8_0 = {32, 32, 8, 128, nullptr, ScaleForm::kHalf, 0};
constexpr BlockScheme kQ4_0 = {32, 32, 4, 8, nullptr, ScaleForm::kHalf, 0};
constexpr BlockScheme kQ4_1 = {32, 32, 4, 0, nullptr, ScaleForm::kHalfWithMin, 0};
constexpr BlockScheme kQ5_0 = {32, 32, 5, 16, nullptr, ScaleForm::kHalf, 0};
constexpr BlockScheme kQ5_1 = {32, 32, 5, 0, nullptr, ScaleForm::kHalfWithMin, 0};
constexpr BlockScheme kQ2_K = {256, 16, 2, 0, nullptr, ScaleForm::kSuperWithMin, 15};
constexpr BlockScheme kQ3_K = {256, 16, 3, 4, nullptr, ScaleForm::kSuper, 31};
constexpr BlockScheme kQ4_K = {256, 32, 4, 0, nullptr, ScaleForm::kSuperWithMin, 63};
constexpr BlockScheme kQ5_K = {256, 32, 5, 0, nullptr, ScaleForm::kSuperWithMin, 63};
constexpr BlockScheme kQ6_K = {256, 16, 6, 32, nullptr, ScaleForm::kSuper, 127};
constexpr BlockScheme kIQ4_NL = {32, 32, 4, 0, kIq4Levels, ScaleForm::kHalf, 0};
constexpr BlockScheme kIQ4_XS = {256, 32, 4, 0, kIq4Levels, ScaleForm::kSuper, 31};
constexpr BlockScheme kMXFP4 = {32, 32, 4, 0, kE2m1Levels, ScaleForm::kExponent, 0};

}  // namespace

const BlockScheme* block_scheme_of(ElementType type) {
  switch (type) {
    case ElementType::kQ8_0:
      return &kQ8_0;
    case ElementType::kQ4_0:
      return &kQ4_0;
    case ElementType::kQ4_1:
      return &kQ4_1;
    case ElementType::kQ5_0:
      return &kQ5_0;
    case ElementType::kQ5_1:
      return &kQ5_1;
    case ElementType::kQ2_K:
      return &kQ2_K;
    case ElementType::kQ3_K:
      return &kQ3_K;
    case ElementType::kQ4_K:
      return &kQ4_K;
    case ElementType::kQ5_K:
      return &kQ5_K;
    case ElementType::kQ6_K:
      return &kQ6_K;
    case ElementType::kIQ4_NL:
      return &kIQ4_NL;
    case ElementType::kIQ4_XS:
      return &kIQ4_XS;
    case ElementType::kMXFP4:
      return &kMXFP4;
    case ElementType::kF32:
    case ElementType::kF16:
    case ElementType::kBF16:
    case ElementType::kI32:
      return nullptr;
  }
  return nullptr;
}

float half_of_e8m0(std::uint32_t exponent) {
  // 2^-128 and 2^-127 are subnormal: their bits are in the mantissa.
  if (exponent < 2) return std::bit_cast<float>(std::uint32_t{0x00200000} << exponent);
  return std::bit_cast<float>((exponent - 1) << 23);
}

void unpack_block(ElementType type, const std::byte* block, BlockCodes& codes) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(block);
  const BlockScheme* scheme = block_scheme_of(type);
  if (scheme->table != nullptr) return block_codes::unpack_table(type, bytes, codes);
  if (scheme->block_elements == 256) return block_codes::unpack_k(type, bytes, codes);
  block_codes::unpack_legacy(type, bytes, codes);
}

void pack_block(ElementType type, const BlockCodes& codes, std::byte* block) {
  auto* bytes = reinterpret_cast<std::uint8_t*>(block);
  const BlockScheme* scheme = block_scheme_of(type);
  if (scheme->table != nullptr) return block_codes::pack_table(type, codes, bytes);
  if (scheme->block_elements == 256) return block_codes::pack_k(type, codes, bytes);
  block_codes::pack_legacy(type, codes, bytes);
}

}  // namespace tandem
