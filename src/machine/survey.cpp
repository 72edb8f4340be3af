#include "machine/survey.h"

#include <set>

namespace tandem {
namespace {

std::string_view vendor_prefix(GpuVendor vendor) {
  switch (vendor) {
    case GpuVendor::kNvidia:
      return "cuda:";
    case GpuVendor::kAmd:
      return "rocm:";
    case GpuVendor::kIntel:
      return "xpu:";
  }
  return "gpu:";
}

std::string short_name(std::string_view name) {
  for (std::string_view maker : {"NVIDIA Corporation ", "NVIDIA ", "GeForce "})
    if (name.starts_with(maker)) name.remove_prefix(maker.size());
  return std::string(name);
}

}  // namespace

GpuPair& Survey::pair(int a, int b) {
  return pairs[{std::min(a, b), std::max(a, b)}];
}

const GpuPair* Survey::find_pair(int a, int b) const {
  const auto found = pairs.find({std::min(a, b), std::max(a, b)});
  return found == pairs.end() ? nullptr : &found->second;
}

const PciDevice* Survey::find_pci(const PciAddress& address) const {
  const auto found = pci.find(address);
  return found == pci.end() ? nullptr : &found->second;
}

std::vector<const PciDevice*> Survey::chain(const PciAddress& address) const {
  std::vector<const PciDevice*> devices;
  std::set<PciAddress> seen;  // a recording may claim that a bridge lies above itself
  const PciDevice* device = find_pci(address);
  while (device != nullptr && seen.insert(device->address).second) {
    devices.push_back(device);
    device = device->parent ? find_pci(*device->parent) : nullptr;
  }
  return devices;
}

std::string Survey::gpu_id(int gpu_index) const {
  const GpuVendor vendor = gpus[static_cast<std::size_t>(gpu_index)].vendor;
  int number = 0;
  for (int i = 0; i < gpu_index; ++i)
    if (gpus[static_cast<std::size_t>(i)].vendor == vendor) ++number;
  return std::string(vendor_prefix(vendor)) + std::to_string(number);
}

std::string Survey::gpu_label(int gpu_index) const {
  const GpuFacts& gpu = gpus[static_cast<std::size_t>(gpu_index)];
  return gpu_id(gpu_index) + (gpu.name ? " (" + short_name(*gpu.name) + ")" : "");
}

}  // namespace tandem
