#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>

#include "base/result.h"

namespace tandem {

// A whole regular file, mapped read-only and shared with every process that maps it.
class MappedFile {
 public:
  // Errors: kNotFound; kIo where the system refuses or the path is no regular file. Does not block
  // on a pipe. An empty file maps to no bytes.
  static Result<std::unique_ptr<MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  bool contains(std::span<const std::byte> range) const;

  // See GgufFile::copy_bytes; `range` must lie in bytes(), `to` has as many.
  Status copy_bytes(std::span<const std::byte> range, std::span<std::byte> to) const;

  // See GgufFile::release_pages; `range` must lie in bytes().
  void release_pages(std::span<const std::byte> range) const;

 private:
  MappedFile(std::filesystem::path path, int descriptor, std::span<const std::byte> bytes)
      : path_(std::move(path)), descriptor_(descriptor), bytes_(bytes) {}

  std::filesystem::path path_;  // for messages
  int descriptor_;
  std::span<const std::byte> bytes_;
};

}  // namespace tandem
