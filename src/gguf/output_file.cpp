#include "gguf/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

namespace tandem {

OutputFile::OutputFile(std::filesystem::path path, std::filesystem::path temporary, int descriptor)
    : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

Result<OutputFile> OutputFile::create(const std::filesystem::path& path) {
  // Renaming would replace a device or a pipe (/dev/null, for root) by a file.
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return Error{
        ErrorCode::kInvalidArgument, "cannot write: not a regular file", path.string(), {}, {}};
  }
  std::filesystem::path temporary = path;
  temporary += ".part" + std::to_string(getpid());
  const int descriptor =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor < 0)
    return Error{ErrorCode::kIo, "cannot write", path.string(), {}, std::strerror(errno)};
  return OutputFile(path, std::move(temporary), descriptor);
}

Error OutputFile::system_error(const char* what) const {
  return {ErrorCode::kIo, what, path_.string(), {}, std::strerror(errno)};
}

Status OutputFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error("cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status OutputFile::commit() {
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return system_error("cannot rename to");
  // Some file systems report a full disk only here.
  if (close(std::exchange(descriptor_, -1)) != 0) return system_error("cannot finish");
  return {};
}

}  // namespace tandem
