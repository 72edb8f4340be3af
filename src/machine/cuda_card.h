#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/cuda_driver.h"
#include "machine/pci_device.h"

namespace tandem {

// A card with its context, one buffer and the kernel of the reduction; gives all of it back.
class CudaCard {
 public:
  // Blocks for a second or more where the driver has to wake the card. Leaves the card current.
  // `cuda` must outlive the card.
  static Result<std::unique_ptr<CudaCard>> open(const CudaDriver& cuda, int ordinal,
                                                std::size_t bytes);
  CudaCard(const CudaCard&) = delete;
  CudaCard& operator=(const CudaCard&) = delete;
  ~CudaCard();

  Status make_current() const;
  // Waits for everything this card was given. Leaves it current.
  Status finish() const;
  // Host to buffer and back, at `offset` bytes. Block; leave the card current.
  Status put(std::size_t offset, const void* from, std::size_t bytes) const;
  Status get(void* to, std::size_t offset, std::size_t bytes) const;
  // tandem_add (reduction_kernel.h) over `count` values from `first` on. Returns at once.
  Status launch_sum(CudaDriver::Pointer mine, CudaDriver::Pointer theirs, CudaDriver::Pointer out,
                    CudaDriver::Pointer copy, unsigned first, unsigned count) const;

  int device() const { return device_; }
  const PciAddress& address() const { return address_; }
  CudaDriver::Context context() const { return context_; }
  CudaDriver::Pointer buffer() const { return buffer_; }
  // Why the card has no kernel; empty where it has one.
  const std::string& no_kernel() const { return no_kernel_; }

 private:
  explicit CudaCard(const CudaDriver& cuda) : cuda_(cuda) {}
  Status take_context(int ordinal, std::size_t bytes);
  Status load_kernel();

  const CudaDriver& cuda_;
  int device_ = 0;
  bool retained_ = false;
  PciAddress address_;
  CudaDriver::Context context_ = nullptr;
  CudaDriver::Pointer buffer_ = 0;
  CudaDriver::Module module_ = nullptr;
  CudaDriver::Function kernel_ = nullptr;
  std::string no_kernel_;
};

// Every card that CUDA shows, 64 at most, each with a buffer of `bytes`. Error: the driver does not
// start, or some card refuses memory.
Result<std::vector<std::unique_ptr<CudaCard>>> open_cuda_cards(const CudaDriver& cuda,
                                                               std::size_t bytes);

}  // namespace tandem
