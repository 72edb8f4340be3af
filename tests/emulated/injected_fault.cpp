// Part of the program on emulated GPUs: the file that TANDEM_EMULATED_FAULT names, "DEVICE AFTER",
// lets that GPU fail as after an Xid once it has done AFTER operations. The file is removed, so
// that a process which takes over finds its GPU well.

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "simt/runtime.h"

namespace {

bool inject() {
  const char* path = std::getenv("TANDEM_EMULATED_FAULT");
  if (path == nullptr) return false;
  int device = 0;
  int after = 0;
  std::ifstream stream(path);
  if (!(stream >> device >> after)) return false;
  stream.close();
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  simt::inject_error(device, cudaErrorIllegalAddress, after);
  return true;
}

[[maybe_unused]] const bool injected = inject();

}  // namespace
