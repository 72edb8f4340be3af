#include "engine/block_key.h"

#include <bit>
#include <random>

namespace tandem {
namespace {

std::uint64_t draw() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

// The finaliser of MurmurHash3 (Appleby): every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

}  // namespace

BlockHasher::BlockHasher() : secret_low_(draw()), secret_high_(draw()) {}

BlockKey BlockHasher::next(const BlockKey& parent, std::span<const std::int32_t> tokens) const {
  std::uint64_t low = mix(parent.low + secret_low_);
  std::uint64_t high = mix(parent.high ^ secret_high_);
  for (const std::int32_t token : tokens) {
    const auto value = static_cast<std::uint64_t>(static_cast<std::uint32_t>(token));
    low = mix(low ^ (value + secret_low_));
    high = mix(std::rotl(high, 23) + (value ^ secret_high_));
  }
  return {low, high};
}

}  // namespace tandem
