#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace tandem {

// GGUF metadata value types (ggml's docs/gguf.md); the values are those of the file.
enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

std::string_view name_of(GgufType type);

// An array whose elements are all of one scalar or string type. Numbers are widened to 64 bits;
// strings point into the file's mapping (or into the writer's caller).
struct GgufArray {
  GgufType element_type = GgufType::kU8;
  std::variant<std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>,
               std::vector<std::string_view>>
      elements;

  std::size_t size() const;
};

// One metadata value. Unsigned integers and bools are widened to uint64, signed ones to int64,
// floats to double. A string points into the mapping of its file and lives as long as that.
struct GgufValue {
  GgufType type = GgufType::kU8;
  std::variant<std::uint64_t, std::int64_t, double, std::string_view, GgufArray> data;

  // Each is nullopt (null for array) where the value is of another kind. as_uint takes any integer
  // type that is not negative, as_float any number.
  std::optional<std::uint64_t> as_uint() const;
  std::optional<std::int64_t> as_int() const;
  std::optional<double> as_float() const;
  std::optional<bool> as_bool() const;
  std::optional<std::string_view> as_string() const;
  const GgufArray* as_array() const;
};

}  // namespace tandem
