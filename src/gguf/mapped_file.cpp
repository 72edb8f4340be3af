#include "gguf/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

namespace tandem {
namespace {

Error system_error(const std::filesystem::path& path, const char* what, int error_number) {
  return {ErrorCode::kIo, what, path.string(), {}, std::strerror(error_number)};
}

struct Descriptor {
  int number = -1;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

}  // namespace

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe without a writer must not hang.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return not_found("no such file", path.string());
    return system_error(path, "cannot open", errno);
  }
  struct stat status {};
  if (fstat(file.number, &status) != 0) return system_error(path, "cannot stat", errno);
  if (!S_ISREG(status.st_mode)) {
    return Error{ErrorCode::kInvalidArgument, "not a regular file", path.string(), {}, {}};
  }

  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return std::unique_ptr<MappedFile>(new MappedFile({}));
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number, 0);
  if (address == MAP_FAILED) return system_error(path, "cannot map", errno);
  return std::unique_ptr<MappedFile>(
      new MappedFile({static_cast<const std::byte*>(address), size}));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

bool MappedFile::contains(std::span<const std::byte> range) const {
  const std::less_equal<const std::byte*> not_after;  // total even between unrelated pointers
  return not_after(bytes_.data(), range.data()) &&
         not_after(range.data() + range.size(), bytes_.data() + bytes_.size());
}

void MappedFile::release_pages(std::span<const std::byte> range) const {
  const auto page_bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  // The mapping begins on a page, so offsets round like addresses.
  const auto begin = static_cast<std::size_t>(range.data() - bytes_.data());
  const std::size_t first = (begin + page_bytes - 1) / page_bytes * page_bytes;
  const std::size_t last = (begin + range.size()) / page_bytes * page_bytes;
  if (first >= last) return;
  // Advice: a kernel that refuses it leaves the pages resident and the contents right.
  madvise(const_cast<std::byte*>(bytes_.data() + first), last - first, MADV_DONTNEED);
}

}  // namespace tandem
