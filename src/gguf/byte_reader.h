#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tandem {

// A position in bytes that nobody vouches for. Every read checks what is left first; a failed one
// says where it stood, what it was to read and how much was missing. Little-endian hosts only.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return bytes_.size() - position_; }
  std::string where() const { return "byte " + std::to_string(position_); }

  Result<std::span<const std::byte>> take(std::uint64_t count, const char* what) {
    if (count > remaining()) {
      return malformed(where(), std::string("the file ends inside ") + what,
                       std::to_string(count) + " bytes", std::to_string(remaining()) + " left");
    }
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  template <typename T>
  Result<T> read(const char* what) {
    TANDEM_TRY(const auto taken, take(sizeof(T), what));
    T value;
    std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }

  // A u64 length and as many bytes.
  Result<std::string_view> read_string(const char* what) {
    TANDEM_TRY(const auto length, read<std::uint64_t>(what));
    TANDEM_TRY(const auto taken, take(length, what));
    return std::string_view(reinterpret_cast<const char*>(taken.data()), taken.size());
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace tandem
