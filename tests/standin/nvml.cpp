// A library in the place of libnvidia-ml.so.1: the two cards of cuda_driver.cpp, idle at
// generation 1 until the file TANDEM_STANDIN_BUSY is there.

#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "machine/nvml_library.h"

namespace {

using tandem::NvmlApi;

unsigned number_of(NvmlApi::Device device) {
  return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(device)) - 1;
}

bool is_busy() {
  const char* path = std::getenv("TANDEM_STANDIN_BUSY");
  return path != nullptr && access(path, F_OK) == 0;
}

int put(unsigned* slot, unsigned value) {
  *slot = value;
  return 0;
}

}  // namespace

extern "C" {
int nvmlInit_v2() {
  return 0;
}
int nvmlShutdown() {
  return 0;
}
int nvmlSystemGetDriverVersion(char* text, unsigned size) {
  std::strncpy(text, "570.86.15", size);
  return 0;
}
int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = 99000;  // newer than any toolkit that the program under test may be built with
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  return put(count, 2);
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, NvmlApi::Device* device) {
  *device = reinterpret_cast<NvmlApi::Device>(static_cast<std::uintptr_t>(index) + 1);
  return 0;
}
int nvmlDeviceGetPciInfo_v3(NvmlApi::Device device, NvmlApi::PciInfo* info) {
  *info = {};
  info->bus = 0x41 + 0x20 * number_of(device);
  return 0;
}
int nvmlDeviceGetName(NvmlApi::Device, char* text, unsigned size) {
  std::strncpy(text, "NVIDIA RTX A6000", size);
  return 0;
}
int nvmlDeviceGetMemoryInfo(NvmlApi::Device, NvmlApi::Memory* memory) {
  *memory = {48ULL << 30, 48ULL << 30, 0};
  return 0;
}
int nvmlDeviceGetCurrPcieLinkGeneration(NvmlApi::Device, unsigned* generation) {
  return put(generation, is_busy() ? 4 : 1);
}
int nvmlDeviceGetMaxPcieLinkGeneration(NvmlApi::Device, unsigned* generation) {
  return put(generation, 4);
}
int nvmlDeviceGetCurrPcieLinkWidth(NvmlApi::Device, unsigned* width) {
  return put(width, 16);
}
int nvmlDeviceGetMaxPcieLinkWidth(NvmlApi::Device, unsigned* width) {
  return put(width, 16);
}
int nvmlDeviceGetPerformanceState(NvmlApi::Device, int* state) {
  *state = is_busy() ? 0 : 8;
  return 0;
}
int nvmlDeviceGetTopologyCommonAncestor(NvmlApi::Device, NvmlApi::Device, int* level) {
  *level = 30;
  return 0;
}
}
