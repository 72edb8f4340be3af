#include "gguf/gguf_value.h"

#include <limits>

namespace tandem {

std::string_view name_of(GgufType type) {
  switch (type) {
    case GgufType::kU8:
      return "u8";
    case GgufType::kI8:
      return "i8";
    case GgufType::kU16:
      return "u16";
    case GgufType::kI16:
      return "i16";
    case GgufType::kU32:
      return "u32";
    case GgufType::kI32:
      return "i32";
    case GgufType::kF32:
      return "f32";
    case GgufType::kBool:
      return "bool";
    case GgufType::kString:
      return "string";
    case GgufType::kArray:
      return "array";
    case GgufType::kU64:
      return "u64";
    case GgufType::kI64:
      return "i64";
    case GgufType::kF64:
      return "f64";
  }
  return "unknown type";
}

std::size_t GgufArray::size() const {
  return std::visit([](const auto& list) { return list.size(); }, elements);
}

std::optional<std::uint64_t> GgufValue::as_uint() const {
  if (type == GgufType::kBool) return std::nullopt;
  if (const auto* value = std::get_if<std::uint64_t>(&data)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&data); value != nullptr && *value >= 0)
    return static_cast<std::uint64_t>(*value);
  return std::nullopt;
}

std::optional<std::int64_t> GgufValue::as_int() const {
  if (type == GgufType::kBool) return std::nullopt;
  if (const auto* value = std::get_if<std::int64_t>(&data)) return *value;
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (const auto* value = std::get_if<std::uint64_t>(&data); value != nullptr && *value <= kMax)
    return static_cast<std::int64_t>(*value);
  return std::nullopt;
}

std::optional<double> GgufValue::as_float() const {
  if (type == GgufType::kBool) return std::nullopt;
  if (const auto* value = std::get_if<double>(&data)) return *value;
  if (const auto* value = std::get_if<std::uint64_t>(&data)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<std::int64_t>(&data)) return static_cast<double>(*value);
  return std::nullopt;
}

std::optional<bool> GgufValue::as_bool() const {
  const auto* value = std::get_if<std::uint64_t>(&data);
  if (type != GgufType::kBool || value == nullptr) return std::nullopt;
  return *value != 0;
}

std::optional<std::string_view> GgufValue::as_string() const {
  const auto* value = std::get_if<std::string_view>(&data);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

const GgufArray* GgufValue::as_array() const {
  return std::get_if<GgufArray>(&data);
}

}  // namespace tandem
