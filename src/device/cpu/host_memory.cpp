#include "device/cpu/host_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/check.h"
#include "base/checked.h"
#include "base/units.h"

namespace tandem {
namespace {

constexpr std::int64_t kHugePageBytes = 2 * kMiB;
// Smaller requests are not worth a look at the system's memory.
constexpr std::int64_t kLargeBytes = 64 * kMiB;

std::int64_t mapped_bytes(std::int64_t bytes) {
  static const std::int64_t page_bytes = sysconf(_SC_PAGESIZE);
  return align_up(bytes, page_bytes);
}

Error out_of_memory(std::int64_t bytes) {
  return Error{ErrorCode::kOutOfMemory,
               "not enough memory on the host",
               {},
               "at most " + format_bytes(available_host_memory_bytes()),
               format_bytes(bytes)};
}

}  // namespace

std::int64_t physical_host_memory_bytes() {
  return static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

std::int64_t available_host_memory_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string name, unit;
  std::int64_t kib = 0;
  while (meminfo >> name >> kib) {
    if (name == "MemAvailable:") return kib * kKiB;
    std::getline(meminfo, unit);
  }
  return physical_host_memory_bytes();
}

Result<HostMemory> HostMemory::allocate(std::int64_t bytes) {
  TANDEM_CHECK(bytes >= 0, "a size is not negative");
  if (bytes == 0) return HostMemory();
  // The system promises more than it has; who touches it all is killed. So look first.
  if (bytes > kLargeBytes && bytes > available_host_memory_bytes()) return out_of_memory(bytes);
  void* data = mmap(nullptr, static_cast<std::size_t>(mapped_bytes(bytes)), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return out_of_memory(bytes);
  if (bytes >= 2 * kHugePageBytes) {
    // Refused where huge pages are switched off: then small ones do.
    (void)madvise(data, static_cast<std::size_t>(mapped_bytes(bytes)), MADV_HUGEPAGE);
  }
  return HostMemory(data, bytes);
}

HostMemory::~HostMemory() {
  if (data_ != nullptr) munmap(data_, static_cast<std::size_t>(mapped_bytes(size_bytes_)));
}

}  // namespace tandem
