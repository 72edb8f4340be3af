#include "support/npy_reader.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

namespace tandem::test {

Result<NpyMatrix> read_npy(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (bytes.size() < 10 || bytes.compare(0, 6, "\x93NUMPY") != 0) {
    return malformed(path.string(), "not a .npy file");
  }
  const auto low = static_cast<unsigned char>(bytes[8]);
  const auto high = static_cast<unsigned char>(bytes[9]);
  const std::size_t begin = 10 + low + 256 * std::size_t{high};
  const std::string header = bytes.substr(10, begin - 10);
  NpyMatrix matrix;
  const std::size_t shape = header.find("'shape': (");
  if (shape == std::string::npos || header.find("'<f4'") == std::string::npos ||
      std::sscanf(header.c_str() + shape, "'shape': (%ld, %ld)", &matrix.rows, &matrix.columns) !=
          2) {
    return malformed(path.string(), "not a float32 matrix");
  }
  matrix.values.resize(static_cast<std::size_t>(matrix.rows * matrix.columns));
  if (bytes.size() - begin != matrix.values.size() * sizeof(float)) {
    return malformed(path.string(), "cut short");
  }
  std::memcpy(matrix.values.data(), bytes.data() + begin, bytes.size() - begin);
  return matrix;
}

}  // namespace tandem::test
