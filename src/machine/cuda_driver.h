#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace tandem {

// The functions of CUDA's driver library (libcuda.so.1) that doctor calls, declared from the public
// documentation (CUDA Driver API): building needs no header or library.
struct CudaDriver {
  using Context = struct CudaContextHandle*;
  using Module = struct CudaModuleHandle*;
  using Function = struct CudaFunctionHandle*;
  using Stream = struct CudaStreamHandle*;
  using Pointer = unsigned long long;

  int (*init)(unsigned flags) = nullptr;
  int (*device_count)(int*) = nullptr;
  int (*device)(int*, int ordinal) = nullptr;
  int (*pci_bus_id)(char*, int length, int device) = nullptr;
  int (*retain_context)(Context*, int device) = nullptr;
  int (*release_context)(int device) = nullptr;
  int (*set_context)(Context) = nullptr;
  int (*allocate)(Pointer*, std::size_t bytes) = nullptr;
  int (*free)(Pointer) = nullptr;
  int (*to_device)(Pointer, const void*, std::size_t bytes) = nullptr;
  int (*to_host)(void*, Pointer, std::size_t bytes) = nullptr;
  int (*can_access_peer)(int*, int device, int peer) = nullptr;
  int (*enable_peer)(Context, unsigned flags) = nullptr;
  int (*disable_peer)(Context) = nullptr;
  int (*copy_peer)(Pointer to, Context to_context, Pointer from, Context from_context,
                   std::size_t bytes) = nullptr;
  int (*synchronize)() = nullptr;
  int (*load_module)(Module*, const void* image) = nullptr;  // PTX text, compiled by the driver
  int (*unload_module)(Module) = nullptr;
  int (*function)(Function*, Module, const char* name) = nullptr;
  int (*launch)(Function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream,
                void** parameters, void** extra) = nullptr;
  int (*error_name)(int code, const char** name) = nullptr;

  // Ok for CUDA_SUCCESS (0), else an error that names `call` and the driver's word for `code`.
  Status check(int code, const char* call) const;
};

// Error kNotFound where NVIDIA's driver is not installed. The library stays loaded.
Result<CudaDriver> load_cuda_driver();

}  // namespace tandem
