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
#include <utility>

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
  int take() { return std::exchange(number, -1); }
};

}  // namespace

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe without a writer must not hang.
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
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
  if (size == 0) return std::unique_ptr<MappedFile>(new MappedFile(path, file.take(), {}));
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number, 0);
  if (address == MAP_FAILED) return system_error(path, "cannot map", errno);
  return std::unique_ptr<MappedFile>(
      new MappedFile(path, file.take(), {static_cast<const std::byte*>(address), size}));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  close(descriptor_);
}

bool MappedFile::contains(std::span<const std::byte> range) const {
  const std::less_equal<const std::byte*> not_after;  // total even between unrelated pointers
  return not_after(bytes_.data(), range.data()) &&
         not_after(range.data() + range.size(), bytes_.data() + bytes_.size());
}

Status MappedFile::copy_bytes(std::span<const std::byte> range, std::span<std::byte> to) const {
  auto offset = static_cast<off_t>(range.data() - bytes_.data());
  while (!to.empty()) {
    const ssize_t got = pread(descriptor_, to.data(), to.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path_, "cannot read", errno);
    if (got == 0) {
      return malformed(path_.string(), "the file has become shorter while it was read",
                       std::to_string(bytes_.size()) + " bytes", std::to_string(offset));
    }
    to = to.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
  return {};
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
