#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace tandem {

// A file that appears under its name only when it is complete: bytes go to a temporary file beside
// it, which commit() renames and which the destructor otherwise removes.
class OutputFile {
 public:
  // Errors: kIo where the folder does not exist or may not be written, kInvalidArgument where
  // `path` is something other than a file.
  static Result<OutputFile> create(const std::filesystem::path& path);
  ~OutputFile();

  OutputFile(OutputFile&& other) noexcept;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Blocks. kIo, with the system's reason (a full disk, say); the file is then of no more use.
  Status append(std::span<const std::byte> bytes);
  // Gives the file its name, in place of a file that had it. Once only.
  Status commit();

 private:
  OutputFile(std::filesystem::path path, std::filesystem::path temporary, int descriptor);
  Error system_error(const char* what) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;  // -1: committed or moved from
};

}  // namespace tandem
