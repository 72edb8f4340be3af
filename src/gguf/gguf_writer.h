#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/element_type.h"

namespace tandem {

// Writes a GGUF v3 file: metadata first, then declared tensors, then their data in that order.
// Nothing larger than one chunk of tensor data is held in memory.
class GgufWriter {
 public:
  explicit GgufWriter(std::uint32_t alignment = 32);
  ~GgufWriter();

  void set_u32(std::string_view key, std::uint32_t value);
  void set_u64(std::string_view key, std::uint64_t value);
  void set_i32(std::string_view key, std::int32_t value);
  void set_f32(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_strings(std::string_view key, std::span<const std::string> values);
  void set_f32s(std::string_view key, std::span<const float> values);
  void set_i32s(std::string_view key, std::span<const std::int32_t> values);

  // dims in GGUF's order (columns first). The product must be whole blocks of `type`.
  void declare_tensor(std::string name, ElementType type, std::vector<std::int64_t> dims);

  // Called for each declared tensor in order until its bytes are written: fills `chunk` with the
  // tensor's bytes from `offset_bytes` on. A chunk is a whole number of rows' blocks.
  using FillTensor = std::function<Status(std::size_t tensor_index, std::int64_t offset_bytes,
                                          std::span<std::byte> chunk)>;

  // Writes everything to `path` by way of a temporary file that is renamed at the end, so that a
  // failure leaves no half-written model. Blocks.
  Status write(const std::filesystem::path& path, const FillTensor& fill) const;

 private:
  struct Declared;
  void append_key(std::string_view key, std::uint32_t type);

  std::uint32_t alignment_;
  std::uint64_t num_values_ = 0;
  std::vector<std::byte> values_;  // encoded key-value pairs
  std::vector<Declared> tensors_;
};

}  // namespace tandem
