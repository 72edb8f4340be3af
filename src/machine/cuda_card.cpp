#include "machine/cuda_card.h"

#include <algorithm>
#include <array>

#include "machine/reduction_kernel.h"

namespace tandem {

Result<std::unique_ptr<CudaCard>> CudaCard::open(const CudaDriver& cuda, int ordinal,
                                                 std::size_t bytes) {
  auto card = std::unique_ptr<CudaCard>(new CudaCard(cuda));
  TANDEM_TRY_STATUS(card->take_context(ordinal, bytes));
  // A driver that refuses the kernel leaves the other steps possible.
  if (const Status status = card->load_kernel(); !status.ok())
    card->no_kernel_ = status.error().to_string();
  return card;
}

Status CudaCard::take_context(int ordinal, std::size_t bytes) {
  TANDEM_TRY_STATUS(cuda_.check(cuda_.device(&device_, ordinal), "cuDeviceGet"));
  std::array<char, 32> bus_id{};
  TANDEM_TRY_STATUS(
      cuda_.check(cuda_.pci_bus_id(bus_id.data(), static_cast<int>(bus_id.size()) - 1, device_),
                  "cuDeviceGetPCIBusId"));
  address_ = PciAddress::parse(bus_id.data()).value_or(PciAddress{});
  TANDEM_TRY_STATUS(
      cuda_.check(cuda_.retain_context(&context_, device_), "cuDevicePrimaryCtxRetain"));
  retained_ = true;
  TANDEM_TRY_STATUS(make_current());
  return cuda_.check(cuda_.allocate(&buffer_, bytes), "cuMemAlloc");
}

Status CudaCard::load_kernel() {
  TANDEM_TRY_STATUS(cuda_.check(cuda_.load_module(&module_, kReductionPtx), "cuModuleLoadData"));
  return cuda_.check(cuda_.function(&kernel_, module_, kReductionKernelName),
                     "cuModuleGetFunction");
}

CudaCard::~CudaCard() {
  if (!retained_) return;
  cuda_.set_context(context_);
  if (module_ != nullptr) cuda_.unload_module(module_);
  if (buffer_ != 0) cuda_.free(buffer_);
  cuda_.release_context(device_);
}

Status CudaCard::make_current() const {
  return cuda_.check(cuda_.set_context(context_), "cuCtxSetCurrent");
}

Status CudaCard::finish() const {
  TANDEM_TRY_STATUS(make_current());
  return cuda_.check(cuda_.synchronize(), "cuCtxSynchronize");
}

Status CudaCard::put(std::size_t offset, const void* from, std::size_t bytes) const {
  TANDEM_TRY_STATUS(make_current());
  return cuda_.check(cuda_.to_device(buffer_ + offset, from, bytes), "cuMemcpyHtoD");
}

Status CudaCard::get(void* to, std::size_t offset, std::size_t bytes) const {
  TANDEM_TRY_STATUS(make_current());
  return cuda_.check(cuda_.to_host(to, buffer_ + offset, bytes), "cuMemcpyDtoH");
}

Status CudaCard::launch_sum(CudaDriver::Pointer mine, CudaDriver::Pointer theirs,
                            CudaDriver::Pointer out, CudaDriver::Pointer copy, unsigned first,
                            unsigned count) const {
  constexpr unsigned kThreads = 256;
  std::array<void*, 6> parameters{&mine, &theirs, &out, &copy, &first, &count};
  TANDEM_TRY_STATUS(make_current());
  return cuda_.check(cuda_.launch(kernel_, (count + kThreads - 1) / kThreads, 1, 1, kThreads, 1, 1,
                                  0, nullptr, parameters.data(), nullptr),
                     "cuLaunchKernel");
}

Result<std::vector<std::unique_ptr<CudaCard>>> open_cuda_cards(const CudaDriver& cuda,
                                                               std::size_t bytes) {
  constexpr int kMaxGpus = 64;
  TANDEM_TRY_STATUS(cuda.check(cuda.init(0), "cuInit"));
  int count = 0;
  TANDEM_TRY_STATUS(cuda.check(cuda.device_count(&count), "cuDeviceGetCount"));
  std::vector<std::unique_ptr<CudaCard>> cards;
  for (int i = 0; i < std::min(count, kMaxGpus); ++i) {
    TANDEM_TRY(auto card, CudaCard::open(cuda, i, bytes));
    cards.push_back(std::move(card));
  }
  return cards;
}

}  // namespace tandem
