#pragma once

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "machine/cuda_driver.h"
#include "machine/ptx_interpreter.h"

namespace tandem {

// For tests: CUDA's driver with the host's memory for that of the cards, and the faults that
// machines set up wrong have been seen with.
struct FakeCuda {
  enum class Fault {
    kNone,
    kCopiesChangeABit,
    kCopiesHang,
    kCopiesCrash,
    kRemoteLoadsAreZero,  // access is granted, and what a kernel loads across the link is not there
    kRemoteStoresVanish,
    kNoKernel,  // the driver refuses the PTX
    kNoMemory,
    kAccessCannotBeEnabled,
  };
  struct Block {
    std::uint64_t begin, end;
    int card;
  };

  int cards = 2;
  bool grants = true;
  Fault fault = Fault::kNone;
  std::vector<Block> blocks;
  std::set<std::pair<int, int>> enabled;  // card, the peer it may reach
  std::optional<PtxKernel> kernel;
  bool illegal_address = false;
  std::mutex mutex;
};

inline FakeCuda fake_cuda;
inline thread_local int fake_current_card = -1;

// Which card's memory an address lies in; -1: none.
inline int fake_owner(std::uint64_t address) {
  for (const FakeCuda::Block& block : fake_cuda.blocks)
    if (address >= block.begin && address + sizeof(float) <= block.end) return block.card;
  return -1;
}

struct FakeMemory : PtxKernel::Memory {
  int card = 0;
  bool reaches(int owner) const {
    return owner == card || (owner >= 0 && fake_cuda.enabled.count({card, owner}) != 0);
  }
  bool load(std::uint64_t address, float& value) override {
    const int owner = fake_owner(address);
    if (!reaches(owner)) return false;
    std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof value);
    if (owner != card && fake_cuda.fault == FakeCuda::Fault::kRemoteLoadsAreZero) value = 0;
    return true;
  }
  bool store(std::uint64_t address, float value) override {
    const int owner = fake_owner(address);
    if (!reaches(owner)) return false;
    if (owner == card || fake_cuda.fault != FakeCuda::Fault::kRemoteStoresVanish)
      std::memcpy(reinterpret_cast<void*>(address), &value, sizeof value);
    return true;
  }
};

inline CudaDriver::Context fake_context(int card) {
  return reinterpret_cast<CudaDriver::Context>(static_cast<std::uintptr_t>(card) + 1);
}
inline int fake_card_of(CudaDriver::Context context) {
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(context)) - 1;
}

inline int fake_copy_peer(CudaDriver::Pointer to, CudaDriver::Pointer from, std::size_t bytes) {
  if (fake_cuda.fault == FakeCuda::Fault::kCopiesHang) pause();
  if (fake_cuda.fault == FakeCuda::Fault::kCopiesCrash) abort();
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  if (fake_cuda.fault == FakeCuda::Fault::kCopiesChangeABit)
    reinterpret_cast<char*>(to)[bytes / 2] ^= 1;
  return 0;
}

inline int fake_launch(unsigned grid, unsigned block, void** parameters) {
  FakeMemory memory;
  memory.card = fake_current_card;
  if (!fake_cuda.kernel) return 400;  // CUDA_ERROR_INVALID_HANDLE
  if (!fake_cuda.kernel->launch(grid, block, parameters, memory)) fake_cuda.illegal_address = true;
  return 0;
}

inline int fake_load_module(CudaDriver::Module* module, const void* image) {
  if (fake_cuda.fault == FakeCuda::Fault::kNoKernel) return 222;
  fake_cuda.kernel = PtxKernel::parse(static_cast<const char*>(image));
  if (!fake_cuda.kernel) return 218;  // CUDA_ERROR_INVALID_PTX
  *module = reinterpret_cast<CudaDriver::Module>(std::uintptr_t{1});
  return 0;
}

inline int fake_allocate(CudaDriver::Pointer* pointer, std::size_t bytes) {
  if (fake_cuda.fault == FakeCuda::Fault::kNoMemory) return 2;
  const std::lock_guard lock(fake_cuda.mutex);
  *pointer = reinterpret_cast<CudaDriver::Pointer>(new char[bytes]);
  fake_cuda.blocks.push_back({*pointer, *pointer + bytes, fake_current_card});
  return 0;
}

inline int fake_free(CudaDriver::Pointer pointer) {
  const std::lock_guard lock(fake_cuda.mutex);
  std::erase_if(fake_cuda.blocks, [&](const FakeCuda::Block& b) { return b.begin == pointer; });
  delete[] reinterpret_cast<char*>(pointer);
  return 0;
}

inline int fake_error_name(int code, const char** name) {
  *name = code == 2     ? "CUDA_ERROR_OUT_OF_MEMORY"
          : code == 217 ? "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED"
          : code == 222 ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
          : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                        : nullptr;
  return *name == nullptr ? 1 : 0;
}

// The functions in the driver's place. Cards lie at 0000:41:00.0, 0000:61:00.0, ...
inline CudaDriver fake_cuda_driver() {
  CudaDriver cuda;
  cuda.init = [](unsigned) { return 0; };
  cuda.device_count = [](int* count) { return *count = fake_cuda.cards, 0; };
  cuda.device = [](int* device, int ordinal) { return *device = ordinal, 0; };
  cuda.pci_bus_id = [](char* text, int length, int device) {
    std::snprintf(text, static_cast<std::size_t>(length), "0000:%02x:00.0", 0x41 + 0x20 * device);
    return 0;
  };
  cuda.retain_context = [](CudaDriver::Context* context, int device) {
    return *context = fake_context(device), 0;
  };
  cuda.release_context = [](int) { return 0; };
  cuda.set_context = [](CudaDriver::Context c) { return fake_current_card = fake_card_of(c), 0; };
  cuda.allocate = fake_allocate;
  cuda.free = fake_free;
  cuda.to_device = [](CudaDriver::Pointer to, const void* from, std::size_t bytes) {
    return std::memcpy(reinterpret_cast<void*>(to), from, bytes), 0;
  };
  cuda.to_host = [](void* to, CudaDriver::Pointer from, std::size_t bytes) {
    return std::memcpy(to, reinterpret_cast<const void*>(from), bytes), 0;
  };
  cuda.can_access_peer = [](int* can, int, int) { return *can = fake_cuda.grants ? 1 : 0, 0; };
  cuda.enable_peer = [](CudaDriver::Context peer, unsigned) {
    if (fake_cuda.fault == FakeCuda::Fault::kAccessCannotBeEnabled) return 217;
    fake_cuda.enabled.insert({fake_current_card, fake_card_of(peer)});
    return 0;
  };
  cuda.disable_peer = [](CudaDriver::Context peer) {
    return fake_cuda.enabled.erase({fake_current_card, fake_card_of(peer)}) == 1 ? 0 : 705;
  };
  cuda.copy_peer = [](CudaDriver::Pointer to, CudaDriver::Context, CudaDriver::Pointer from,
                      CudaDriver::Context,
                      std::size_t bytes) { return fake_copy_peer(to, from, bytes); };
  cuda.synchronize = [] { return fake_cuda.illegal_address ? 700 : 0; };
  cuda.load_module = fake_load_module;
  cuda.unload_module = [](CudaDriver::Module) { return 0; };
  cuda.function = [](CudaDriver::Function* function, CudaDriver::Module, const char* name) {
    *function = reinterpret_cast<CudaDriver::Function>(std::uintptr_t{1});
    return fake_cuda.kernel && fake_cuda.kernel->name() == name ? 0 : 500;
  };
  cuda.launch = [](CudaDriver::Function, unsigned grid, unsigned, unsigned, unsigned block,
                   unsigned, unsigned, unsigned, CudaDriver::Stream, void** parameters,
                   void**) { return fake_launch(grid, block, parameters); };
  cuda.error_name = fake_error_name;
  return cuda;
}

}  // namespace tandem
