#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gguf/gguf_value.h"
#include "tensor/element_type.h"

namespace tandem {

// Writes a GGUF v3 file: metadata first, then declared tensors, then their data in that order.
// Nothing larger than one chunk of tensor data is held in memory. Keys and tensor names must not
// repeat, nor be empty, and tensors must be whole rows of blocks: to break that is a bug of the
// caller's and stops the program.
class GgufWriter {
 public:
  // alignment: of every tensor's data in the file; a power of two, at least 8.
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
  // A value read from another file, in the type that it has there.
  void set_value(std::string_view key, const GgufValue& value);

  // dims in GGUF's order (columns first), 1 to 4 of them; columns must be whole blocks of `type`.
  void declare_tensor(std::string name, ElementType type, std::vector<std::int64_t> dims);

  // Called for each declared tensor in order until its bytes are written: fills `chunk` with the
  // tensor's bytes from `offset_bytes` on. A chunk is a whole number of rows' blocks, about 16 MiB
  // where the rows allow.
  using FillTensor = std::function<Status(std::size_t tensor_index, std::int64_t offset_bytes,
                                          std::span<std::byte> chunk)>;

  // Bytes of the file that write() will make.
  std::int64_t file_bytes() const;

  // Writes everything to `path` by way of a temporary file beside it that is renamed at the end, so
  // that a failure leaves no half-written model. Blocks. Errors: kIo; whatever `fill` returns.
  Status write(const std::filesystem::path& path, const FillTensor& fill) const;

 private:
  struct Declared;
  void append_key(std::string_view key, GgufType type);
  void append_array(const GgufArray& array);
  std::vector<std::byte> encode_header() const;

  std::uint32_t alignment_;
  std::set<std::string, std::less<>> keys_;
  std::vector<std::byte> values_;  // encoded key-value pairs
  std::set<std::string, std::less<>> tensor_names_;
  std::vector<Declared> tensors_;
  std::int64_t data_bytes_ = 0;  // of the tensors so far, padding between them included
};

}  // namespace tandem
