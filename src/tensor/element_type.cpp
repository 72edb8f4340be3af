#include "tensor/element_type.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

#include "base/check.h"
#include "base/checked.h"

namespace tandem {
namespace {

// Block sizes are those of the structs in ggml-common.h (block_q4_0 and so on).
constexpr std::array kTraits = {
    ElementTypeTraits{ElementType::kF32, "F32", 1, 4, false},
    ElementTypeTraits{ElementType::kF16, "F16", 1, 2, false},
    ElementTypeTraits{ElementType::kQ4_0, "Q4_0", 32, 18, true},
    ElementTypeTraits{ElementType::kQ4_1, "Q4_1", 32, 20, true},
    ElementTypeTraits{ElementType::kQ5_0, "Q5_0", 32, 22, true},
    ElementTypeTraits{ElementType::kQ5_1, "Q5_1", 32, 24, true},
    ElementTypeTraits{ElementType::kQ8_0, "Q8_0", 32, 34, true},
    ElementTypeTraits{ElementType::kQ2_K, "Q2_K", 256, 84, true},
    ElementTypeTraits{ElementType::kQ3_K, "Q3_K", 256, 110, true},
    ElementTypeTraits{ElementType::kQ4_K, "Q4_K", 256, 144, true},
    ElementTypeTraits{ElementType::kQ5_K, "Q5_K", 256, 176, true},
    ElementTypeTraits{ElementType::kQ6_K, "Q6_K", 256, 210, true},
    ElementTypeTraits{ElementType::kIQ4_NL, "IQ4_NL", 32, 18, true},
    ElementTypeTraits{ElementType::kIQ4_XS, "IQ4_XS", 256, 136, true},
    ElementTypeTraits{ElementType::kI32, "I32", 1, 4, false},
    ElementTypeTraits{ElementType::kBF16, "BF16", 1, 2, false},
    ElementTypeTraits{ElementType::kMXFP4, "MXFP4", 32, 17, true},
};

// Every id that ggml.h has named, removed ones included; the position is the id.
constexpr std::array<std::string_view, 42> kGgmlNames = {
    "F32",   "F16",        "Q4_0",       "Q4_1",       "Q4_2",     "Q4_3",     "Q5_0",
    "Q5_1",  "Q8_0",       "Q8_1",       "Q2_K",       "Q3_K",     "Q4_K",     "Q5_K",
    "Q6_K",  "Q8_K",       "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",  "IQ1_S",    "IQ4_NL",
    "IQ3_S", "IQ2_S",      "IQ4_XS",     "I8",         "I16",      "I32",      "I64",
    "F64",   "IQ1_M",      "BF16",       "Q4_0_4_4",   "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",
    "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4",    "NVFP4",    "Q1_0"};

char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

}  // namespace

std::optional<ElementType> element_type_from_id(std::uint32_t ggml_type_id) {
  for (const ElementTypeTraits& traits : kTraits)
    if (static_cast<std::uint32_t>(traits.type) == ggml_type_id) return traits.type;
  return std::nullopt;
}

std::optional<ElementType> element_type_from_name(std::string_view name) {
  const auto same = [](char a, char b) { return upper(a) == b; };
  for (const ElementTypeTraits& traits : kTraits)
    if (std::ranges::equal(name, traits.name, same)) return traits.type;
  return std::nullopt;
}

std::string name_of_ggml_type(std::uint32_t ggml_type_id) {
  if (ggml_type_id < kGgmlNames.size()) return std::string(kGgmlNames[ggml_type_id]);
  return "type " + std::to_string(ggml_type_id);
}

const ElementTypeTraits& traits_of(ElementType type) {
  // Linear over seventeen entries: never called in an inner loop.
  for (const ElementTypeTraits& traits : kTraits)
    if (traits.type == type) return traits;
  check_failed(__FILE__, __LINE__, "type is an ElementType",
               std::to_string(static_cast<std::uint32_t>(type)));
}

std::span<const ElementTypeTraits> all_element_types() {
  return kTraits;
}

std::optional<std::int64_t> bytes_of(ElementType type, std::int64_t num_elements) {
  const ElementTypeTraits& traits = traits_of(type);
  if (num_elements < 0 || num_elements % traits.block_elements != 0) return std::nullopt;
  return checked_mul<std::int64_t>(num_elements / traits.block_elements, traits.block_bytes);
}

}  // namespace tandem
