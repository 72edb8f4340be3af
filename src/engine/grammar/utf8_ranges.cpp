#include "engine/grammar/utf8_ranges.h"

#include <algorithm>

namespace tandem {
namespace {

// Code points encoded in the same number of bytes.
struct Plane {
  char32_t first;
  char32_t last;
  int num_bytes;
};
constexpr Plane kPlanes[] = {{0, 0x7F, 1},
                             {0x80, 0x7FF, 2},
                             {0x800, 0xD7FF, 3},
                             {0xE000, 0xFFFF, 3},
                             {0x10000, 0x10FFFF, 4}};

std::uint8_t byte_of(char32_t c, int index, int num_bytes) {
  if (num_bytes == 1) return static_cast<std::uint8_t>(c);
  constexpr std::uint8_t kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  const int shift = 6 * (num_bytes - 1 - index);
  const auto bits = static_cast<std::uint8_t>(c >> shift);
  return index == 0 ? static_cast<std::uint8_t>(kLead[num_bytes] | bits)
                    : static_cast<std::uint8_t>(0x80 | (bits & 0x3F));
}

// Splits [first, last] where a trailing byte would not run through all of 80-BF, so that each part
// is a product of byte ranges.
void split(char32_t first, char32_t last, int num_bytes, std::vector<ByteRanges>& out) {
  for (int tail = 1; tail < num_bytes; ++tail) {
    const char32_t mask = (char32_t{1} << (6 * tail)) - 1;
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      split(first, first | mask, num_bytes, out);
      split((first | mask) + 1, last, num_bytes, out);
      return;
    }
    if ((last & mask) != mask) {
      split(first, (last & ~mask) - 1, num_bytes, out);
      split(last & ~mask, last, num_bytes, out);
      return;
    }
  }
  ByteRanges ranges;
  for (int i = 0; i < num_bytes; ++i) {
    ranges.emplace_back(byte_of(first, i, num_bytes), byte_of(last, i, num_bytes));
  }
  out.push_back(std::move(ranges));
}

}  // namespace

std::vector<ByteRanges> utf8_ranges(char32_t first, char32_t last) {
  std::vector<ByteRanges> all;
  for (const Plane& plane : kPlanes) {
    const char32_t from = std::max(first, plane.first);
    const char32_t to = std::min(last, plane.last);
    if (from <= to) split(from, to, plane.num_bytes, all);
  }
  return all;
}

}  // namespace tandem
