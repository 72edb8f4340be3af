#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "gguf/gguf_value.h"

namespace tandem {

// Strings together a GGUF image byte by byte, right or deliberately wrong. Each call appends.
class ImageBuilder {
 public:
  template <typename T>
  ImageBuilder& raw(T value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof value);
    return *this;
  }
  ImageBuilder& text(std::string_view value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(value.data());
    bytes_.insert(bytes_.end(), bytes, bytes + value.size());
    return *this;
  }
  ImageBuilder& string(std::string_view value) {
    return raw<std::uint64_t>(value.size()).text(value);
  }

  ImageBuilder& header(std::uint64_t num_tensors, std::uint64_t num_pairs,
                       std::uint32_t version = 3) {
    return text("GGUF").raw(version).raw(num_tensors).raw(num_pairs);
  }
  ImageBuilder& key(std::string_view name, GgufType type) {
    return string(name).raw(static_cast<std::uint32_t>(type));
  }
  ImageBuilder& array(std::string_view name, GgufType element_type, std::uint64_t count) {
    return key(name, GgufType::kArray).raw(static_cast<std::uint32_t>(element_type)).raw(count);
  }
  ImageBuilder& u32(std::string_view name, std::uint32_t value) {
    return key(name, GgufType::kU32).raw(value);
  }
  ImageBuilder& tensor(std::string_view name, const std::vector<std::uint64_t>& dims,
                       std::uint32_t type, std::uint64_t offset) {
    string(name).raw(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) raw(dim);
    return raw(type).raw(offset);
  }
  ImageBuilder& pad_to(std::size_t alignment) {
    while (bytes_.size() % alignment != 0) raw<std::uint8_t>(0);
    return *this;
  }
  ImageBuilder& zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }

  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace tandem
