#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gguf/gguf_value.h"
#include "tensor/element_type.h"

namespace tandem {

class MappedFile;
struct GgufImage;

// One tensor of the file. Dimensions stand in GGUF's order: dims[0] varies fastest.
struct GgufTensor {
  std::string name;
  ElementType type = ElementType::kF32;
  std::vector<std::int64_t> dims;   // 1 to 4 of them, each >= 1
  std::span<const std::byte> data;  // into the mapping: bytes_of(type, num_elements())

  std::int64_t num_elements() const;
  std::int64_t columns() const { return dims[0]; }
  // The product of all dimensions but the first.
  std::int64_t rows() const { return num_elements() / dims[0]; }
};

// A GGUF model (v2 or v3), mapped read-only and checked in full: every count, length, offset,
// dimension and type has been verified against the file's size before it is used, so the accessors
// cannot fail. Several files (-00001-of-0000N) appear as one. Immutable, safe to share.
class GgufFile {
 public:
  // `path`: the file, or the first of several. Blocks on the disk for the header only. A file that
  // another process truncates while it is mapped cannot be guarded against (SIGBUS).
  // Errors: kNotFound, kIo, kMalformed (with offset or key), kUnsupported (tensor type by name).
  static Result<std::shared_ptr<const GgufFile>> open(const std::filesystem::path& path);
  // A GGUF image in memory, which must outlive the result. `name` stands in error messages.
  static Result<std::shared_ptr<const GgufFile>> parse(std::span<const std::byte> image,
                                                       std::string name);
  ~GgufFile();

  const std::string& name() const { return name_; }  // path as given, for messages
  std::uint32_t version() const { return version_; }
  // Bytes of all parts on disk.
  std::int64_t file_bytes() const { return file_bytes_; }

  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  // Null where the key is absent.
  const GgufValue* find(std::string_view key) const;

  // In the order of the file(s).
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;

  // Typed look-ups with an error that names file and key: kMalformed where the key is absent or of
  // another type. The *_or forms return `fallback` where the key is absent, and still fail where
  // it has another type.
  Result<std::uint64_t> get_uint(std::string_view key) const;
  Result<double> get_float(std::string_view key) const;
  Result<std::string_view> get_string(std::string_view key) const;
  Result<const GgufArray*> get_array(std::string_view key) const;
  Result<std::uint64_t> get_uint_or(std::string_view key, std::uint64_t fallback) const;
  Result<double> get_float_or(std::string_view key, double fallback) const;
  Result<bool> get_bool_or(std::string_view key, bool fallback) const;
  Result<std::string_view> get_string_or(std::string_view key, std::string_view fallback) const;

  // Copies `range`, which must lie in a tensor's data, to `to`, of the same size. Reads the file
  // instead of touching the mapping: a page that is mapped and given up again costs several times
  // what its copy does. Blocks. Errors: kIo; kMalformed where the file has been truncated.
  Status copy_bytes(std::span<const std::byte> range, std::span<std::byte> to) const;

  // Tells the kernel that this process no longer needs these pages resident (MADV_DONTNEED on the
  // whole pages inside `range`, which must lie in a tensor's data). Reading them again maps them
  // again. No effect on an image in memory. Does not block.
  void release_pages(std::span<const std::byte> range) const;

 private:
  GgufFile();

  Status add_part(const std::filesystem::path& path, GgufImage* head);
  Status add_other_parts(const std::filesystem::path& first);
  Status add_tensors(std::vector<GgufTensor> tensors, std::string_view part_name);
  Result<const GgufValue*> require(std::string_view key) const;
  Error wrong_type(std::string_view key, const GgufValue& value, std::string_view expected) const;

  std::string name_;
  std::uint32_t version_ = 0;
  std::int64_t file_bytes_ = 0;
  std::vector<std::unique_ptr<MappedFile>> parts_;  // none for an image in memory
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> tensor_index_;
};

}  // namespace tandem
