#include "comm/nccl/nccl_library.h"

#include <dlfcn.h>

#include <type_traits>

namespace tandem::cuda {
namespace {

NcclLibrary open_library() {
  NcclLibrary nccl;
  void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nccl;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
  };
  find(nccl.init_all, "ncclCommInitAll");
  find(nccl.all_reduce, "ncclAllReduce");
  find(nccl.abort, "ncclCommAbort");
  find(nccl.error_string, "ncclGetErrorString");
  return nccl;
}

}  // namespace

const NcclLibrary& nccl_library() {
  static const NcclLibrary nccl = open_library();
  return nccl;
}

}  // namespace tandem::cuda
