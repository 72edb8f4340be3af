#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tandem {

// How the numbers of a tensor are stored. The values are ggml's type ids, as GGUF files hold them
// (ggml.h, enum ggml_type).
enum class ElementType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kI32 = 26,
  kBF16 = 30,
  kMXFP4 = 39,
};

// A row is stored as consecutive blocks of `block_elements` numbers in `block_bytes` bytes.
struct ElementTypeTraits {
  ElementType type;
  std::string_view name;  // as ggml prints it: "Q4_K"
  std::int32_t block_elements;
  std::int32_t block_bytes;
  bool is_quantised;
};

// nullopt for ids that Tandem cannot read; name_of_ggml_type() still names them in the error.
std::optional<ElementType> element_type_from_id(std::uint32_t ggml_type_id);
std::optional<ElementType> element_type_from_name(std::string_view name);  // case ignored
// The name of any type id that ggml has ever had ("IQ2_XXS"), or "type 77".
std::string name_of_ggml_type(std::uint32_t ggml_type_id);

const ElementTypeTraits& traits_of(ElementType type);
std::span<const ElementTypeTraits> all_element_types();

// Bytes of `num_elements` consecutive numbers. nullopt if they are no whole number of blocks, are
// negative, or their size overflows.
std::optional<std::int64_t> bytes_of(ElementType type, std::int64_t num_elements);

}  // namespace tandem
