#include "app/npy.h"

#include <fmt/format.h>

#include <fstream>

namespace tandem {

Status write_npy(const std::filesystem::path& path, std::span<const float> values,
                 std::int64_t rows, std::int64_t columns) {
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  // Magic, version and header length take 10 bytes; the data begins at a multiple of 64.
  const std::size_t unpadded = 10 + header.size() + 1;
  header.append((64 - unpadded % 64) % 64, ' ');
  header += '\n';
  const auto length = static_cast<std::uint16_t>(header.size());
  std::ofstream out(path, std::ios::binary);
  out.write("\x93NUMPY\x01\x00", 8);
  out.put(static_cast<char>(length & 0xff)).put(static_cast<char>(length >> 8));
  out.write(header.data(), static_cast<std::streamsize>(header.size()));
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size_bytes()));
  out.flush();
  if (out) return {};
  return Error{ErrorCode::kIo, "cannot be written", path.string(), {}, {}};
}

}  // namespace tandem
